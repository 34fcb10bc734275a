/*
 * Draws the bar: whichever thread first comes by after a tenth of a second does it; the others go on with
 * their work.
 */
#include "mkentrofs/progress.h"

#include <time.h>

#define DRAW_INTERVAL_MS 100
#define BAR_CHARACTERS   28

double entro_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void entro_progress_init(struct entro_progress *progress, FILE *stream)
{
    progress->stream = stream;
    progress->source_bytes = 0;
    progress->total_bytes = 0;
    progress->settled_bytes = 0;
    progress->start_seconds = entro_seconds();
    atomic_init(&progress->done_bytes, 0);
    atomic_init(&progress->next_draw_ms, DRAW_INTERVAL_MS);
    progress->drawn = false;
    pthread_mutex_init(&progress->lock, NULL);
}

void entro_progress_destroy(struct entro_progress *progress)
{
    pthread_mutex_destroy(&progress->lock);
}

void entro_progress_plan(struct entro_progress *progress, uint64_t source_bytes, uint64_t total_bytes)
{
    if (!progress)
        return;
    progress->source_bytes = source_bytes;
    progress->total_bytes = total_bytes;
    progress->start_seconds = entro_seconds();
}

static void draw(struct entro_progress *progress, double elapsed_seconds)
{
    double share = 0;
    if (progress->total_bytes > 0)
        share = (double)atomic_load_explicit(&progress->done_bytes, memory_order_relaxed) /
                (double)progress->total_bytes;
    if (share > 1)
        share = 1;
    double read_bytes = share * (double)progress->source_bytes;
    double speed = elapsed_seconds > 0 ? read_bytes / elapsed_seconds : 0;
    char bar[BAR_CHARACTERS + 1];
    for (int i = 0; i < BAR_CHARACTERS; i++)
        bar[i] = i < (int)(share * BAR_CHARACTERS) ? '#' : '.';
    bar[BAR_CHARACTERS] = '\0';
    char done[32], total[32], per_second[32], left[32] = "--:--";
    entro_format_bytes(done, sizeof done, read_bytes);
    entro_format_bytes(total, sizeof total, (double)progress->source_bytes);
    entro_format_bytes(per_second, sizeof per_second, speed);
    if (share > 0.005) {
        double seconds = elapsed_seconds * (1 - share) / share;
        if (seconds < 360000)
            snprintf(left, sizeof left, "%d:%02d", (int)seconds / 60, (int)seconds % 60);
    }
    fprintf(progress->stream, "\r[%s] %3d%%  %s of %s  %s/s  %s left\033[K", bar, (int)(share * 100), done,
            total, per_second, left);
    fflush(progress->stream);
    progress->drawn = true;
}

void entro_progress_add(struct entro_progress *progress, uint64_t n_bytes)
{
    if (!progress)
        return;
    atomic_fetch_add_explicit(&progress->done_bytes, n_bytes, memory_order_relaxed);
    if (!progress->stream)
        return;
    double elapsed_seconds = entro_seconds() - progress->start_seconds;
    uint64_t elapsed_ms = (uint64_t)(elapsed_seconds * 1000);
    if (elapsed_ms < atomic_load_explicit(&progress->next_draw_ms, memory_order_relaxed))
        return;
    if (pthread_mutex_trylock(&progress->lock) != 0)
        return;
    atomic_store_explicit(&progress->next_draw_ms, elapsed_ms + DRAW_INTERVAL_MS, memory_order_relaxed);
    draw(progress, elapsed_seconds);
    pthread_mutex_unlock(&progress->lock);
}

void entro_progress_settle(struct entro_progress *progress, uint64_t n_bytes)
{
    if (!progress)
        return;
    progress->settled_bytes += n_bytes;
    atomic_store_explicit(&progress->done_bytes, progress->settled_bytes, memory_order_relaxed);
}

void entro_progress_clear(struct entro_progress *progress)
{
    pthread_mutex_lock(&progress->lock);
    if (progress->drawn) {
        fputs("\r\033[K", progress->stream);
        fflush(progress->stream);
        progress->drawn = false;
    }
    pthread_mutex_unlock(&progress->lock);
}
