/*
 * Formats notes and warnings for whoever listens.
 */
#include "mkentrofs/monitor.h"

#include <stdarg.h>
#include <stdio.h>

bool entro_monitor_cancelled(const struct entro_monitor *monitor)
{
    return monitor->cancelled && atomic_load_explicit(monitor->cancelled, memory_order_relaxed);
}

static void send(const struct entro_monitor *monitor, bool is_warning, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

static void send(const struct entro_monitor *monitor, bool is_warning, const char *format, va_list arguments)
{
    char text[1024];
    if (!monitor->note)
        return;
    vsnprintf(text, sizeof text, format, arguments);
    monitor->note(monitor->context, is_warning, text);
}

void entro_monitor_note(const struct entro_monitor *monitor, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    send(monitor, false, format, arguments);
    va_end(arguments);
}

void entro_monitor_warn(const struct entro_monitor *monitor, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    send(monitor, true, format, arguments);
    va_end(arguments);
}
