/*
 * Finding and loading the GPU plug-in; see backend_cuda.h. A plug-in, so that a program which is installed on
 * machines with and without a GPU needs no CUDA library to start, and loads none where nobody asks for a GPU.
 */
#include "runner/cuda_plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLUGIN_FILE "libentrorun-cuda.so"

struct entro_gpu {
    void *library;
    const struct entro_cuda_plugin *plugin;
    char name[320];
};

/* The folder that the program lies in, without a trailing slash; empty where that cannot be told. */
static void find_program_folder(char *folder, size_t size_bytes)
{
    ssize_t n = readlink("/proc/self/exe", folder, size_bytes - 1);
    folder[n > 0 ? (size_t)n : 0] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
}

/* What the environment names. */
static bool is_plugin_chosen(char *path, size_t size_bytes)
{
    const char *chosen = getenv("ENTRORUN_CUDA_PLUGIN");
    if (chosen == NULL || chosen[0] == '\0')
        return false;
    snprintf(path, size_bytes, "%s", chosen);
    return true;
}

/* A file that is there. */
static bool find_plugin(char *path, size_t size_bytes)
{
    char folder[PATH_MAX];
    find_program_folder(folder, sizeof folder);
    static const char *const places[] = {"/cuda/" PLUGIN_FILE, "/../" ENTRO_PLUGIN_LIBDIR "/" PLUGIN_FILE};
    for (size_t i = 0; folder[0] != '\0' && i < sizeof places / sizeof places[0]; i++) {
        int n = snprintf(path, size_bytes, "%s%s", folder, places[i]);
        if (n > 0 && (size_t)n < size_bytes && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

/* The plug-in would say so too, but to load it brings in hundreds of megabytes of libraries: a quarter of a
 * second for those who have no GPU. */
static bool is_driver_installed(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver != NULL)
        dlclose(driver);
    return driver != NULL;
}

static enum entro_error load_plugin(struct entro_gpu *gpu, struct entro_message *message)
{
    char path[PATH_MAX + 64];
    if (!is_plugin_chosen(path, sizeof path)) {
        if (!find_plugin(path, sizeof path))
            return entro_fail(message, ENTRO_ERROR_NOT_FOUND,
                              "the GPU plug-in (" PLUGIN_FILE ") is not installed");
        if (!is_driver_installed())
            return entro_fail(message, ENTRO_ERROR_NOT_FOUND, "no NVIDIA driver is installed");
    }
    gpu->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (gpu->library == NULL)
        return entro_fail(message, ENTRO_ERROR_NOT_FOUND, "the GPU plug-in cannot be loaded: %s", dlerror());
    gpu->plugin = dlsym(gpu->library, ENTRO_CUDA_PLUGIN_SYMBOL);
    if (gpu->plugin == NULL)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s is no GPU plug-in of entrorun", path);
    if (gpu->plugin->abi_version != ENTRO_CUDA_ABI_VERSION ||
        gpu->plugin->model_bytes != sizeof(struct entro_cuda_model))
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "%s belongs to another version of entrorun (interface %u, this program's is %u)",
                          path, gpu->plugin->abi_version, ENTRO_CUDA_ABI_VERSION);
    return ENTRO_OK;
}

enum entro_error entro_gpu_open(struct entro_gpu **out, struct entro_message *message)
{
    struct entro_cuda_device device;
    struct entro_cuda_message said = {{0}};
    struct entro_gpu *gpu = calloc(1, sizeof *gpu);
    if (gpu == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the GPU plug-in");
    enum entro_error error = load_plugin(gpu, message);
    if (error == ENTRO_OK && gpu->plugin->probe(&device, &said) != ENTRO_CUDA_OK)
        error = entro_fail(message, ENTRO_ERROR_NOT_FOUND, "%s", said.text);
    if (error != ENTRO_OK) {
        entro_gpu_close(gpu);
        return error;
    }
    snprintf(gpu->name, sizeof gpu->name, "%s, sm_%u%u, %u multiprocessors", device.name, device.major,
             device.minor, device.n_multiprocessors);
    *out = gpu;
    return ENTRO_OK;
}

void entro_gpu_close(struct entro_gpu *gpu)
{
    if (gpu == NULL)
        return;
    if (gpu->library != NULL)
        dlclose(gpu->library);
    free(gpu);
}

const char *entro_gpu_name(const struct entro_gpu *gpu)
{
    return gpu->name;
}

const struct entro_cuda_plugin *entro_gpu_plugin(const struct entro_gpu *gpu)
{
    return gpu->plugin;
}
