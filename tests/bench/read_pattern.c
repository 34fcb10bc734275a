/*
 * Reads files in one pattern, from a cold page cache, and prints one line of JSON: bytes, seconds, its own
 * CPU seconds and, for single reads, percentiles. Which files and how often is the driver's business
 * (bench_mount).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES       4096U
#define SEQUENTIAL_BYTES (1U << 20)
#define DIRECT_BYTES     (8U << 20)
#define N_READERS        4U
#define N_RANDOM         2000U
#define READAROUND_BYTES (128U << 10) /* blocks of squashfs, the kernel's usual read-ahead */

struct file {
    const char *path;
    int descriptor;
    uint64_t size_bytes;
};

static struct {
    struct file *files;
    size_t n_files;
    unsigned n_random;
    uint64_t seed;
    double *latencies_us; /* n_random of them, where the pattern has them */
    size_t n_latencies;
    atomic_ullong n_bytes;
} work = {.n_random = N_RANDOM};

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static bool fail(const char *what, const char *path)
{
    fprintf(stderr, "read_pattern: %s: %s: %s\n", path, what, strerror(errno));
    return false;
}

/* Reads bytes first..end of a file through `descriptor`, `chunk` at a time. */
static bool read_range(const struct file *file, int descriptor, uint64_t first, uint64_t end, size_t chunk)
{
    char *buffer = aligned_alloc(PAGE_BYTES, chunk);
    if (buffer == NULL)
        return fail("read", file->path);
    bool ok = true;
    for (uint64_t at = first; ok && at < end;) {
        size_t wanted = end - at < chunk ? (size_t)(end - at) : chunk;
        /* O_DIRECT wants whole pages; the file's end makes the read shorter */
        ssize_t n = pread(descriptor, buffer, (wanted + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES, (off_t)at);
        ok = n > 0;
        if (!ok)
            fail(n == 0 ? "unexpected end" : "read", file->path);
        else
            at += (uint64_t)n;
    }
    free(buffer);
    if (ok)
        atomic_fetch_add(&work.n_bytes, end - first);
    return ok;
}

static bool read_sequential(void)
{
    for (size_t i = 0; i < work.n_files; i++)
        if (!read_range(&work.files[i], work.files[i].descriptor, 0, work.files[i].size_bytes,
                        SEQUENTIAL_BYTES))
            return false;
    return true;
}

static bool read_direct(void)
{
    for (size_t i = 0; i < work.n_files; i++) {
        const struct file *file = &work.files[i];
        int descriptor = open(file->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (descriptor < 0)
            return fail("open with O_DIRECT", file->path);
        bool ok = read_range(file, descriptor, 0, file->size_bytes, DIRECT_BYTES);
        close(descriptor);
        if (!ok)
            return false;
    }
    return true;
}

/* Maps each file and touches each of its pages once; with `flags` MAP_POPULATE they are there already. */
static bool touch(int flags)
{
    for (size_t i = 0; i < work.n_files; i++) {
        const struct file *file = &work.files[i];
        if (file->size_bytes == 0)
            continue;
        volatile const uint8_t *bytes =
            mmap(NULL, (size_t)file->size_bytes, PROT_READ, MAP_SHARED | flags, file->descriptor, 0);
        if (bytes == MAP_FAILED)
            return fail("mmap", file->path);
        unsigned sum = 0;
        for (uint64_t at = 0; at < file->size_bytes; at += PAGE_BYTES)
            sum += bytes[at];
        (void)sum;
        munmap((void *)(uintptr_t)bytes, (size_t)file->size_bytes);
        atomic_fetch_add(&work.n_bytes, file->size_bytes);
    }
    return true;
}

static bool read_mapped(void)
{
    return touch(0);
}

static bool read_populated(void)
{
    return touch(MAP_POPULATE);
}

struct reader {
    pthread_t thread;
    size_t number;
    bool has_parts, ok;
};

/* Part `number` of N_READERS parts of a file, by a descriptor of its own. */
static bool read_part(const struct file *file, size_t number)
{
    uint64_t part = (file->size_bytes / N_READERS + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uint64_t first = part * number < file->size_bytes ? part * number : file->size_bytes;
    uint64_t end =
        number + 1 < N_READERS && first + part < file->size_bytes ? first + part : file->size_bytes;
    int descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return fail("open", file->path);
    bool ok = read_range(file, descriptor, first, end, SEQUENTIAL_BYTES);
    close(descriptor);
    return ok;
}

/* Every N_READERS-th file, or a part of each file. */
static void *reader_main(void *argument)
{
    struct reader *reader = argument;
    reader->ok = true;
    for (size_t i = 0; reader->ok && i < work.n_files; i++) {
        const struct file *file = &work.files[i];
        if (reader->has_parts)
            reader->ok = read_part(file, reader->number);
        else if (i % N_READERS == reader->number)
            reader->ok = read_range(file, file->descriptor, 0, file->size_bytes, SEQUENTIAL_BYTES);
    }
    return NULL;
}

static bool read_by_threads(bool has_parts)
{
    struct reader readers[N_READERS];
    size_t n = 0;
    bool ok = true;
    for (; n < N_READERS; n++) {
        readers[n] = (struct reader){.number = n, .has_parts = has_parts};
        if (pthread_create(&readers[n].thread, NULL, reader_main, &readers[n]) != 0)
            break;
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(readers[i].thread, NULL);
        ok = ok && readers[i].ok;
    }
    return ok && n == N_READERS;
}

static bool read_files_by_threads(void)
{
    return read_by_threads(false);
}

static bool read_parts_by_threads(void)
{
    return read_by_threads(true);
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DU;
}

/* Pages at random of all files together, no two from one stretch of READAROUND_BYTES: one that an earlier
 * read has brought along would not be read cold. */
static bool read_random(void)
{
    const unsigned group_pages = READAROUND_BYTES / PAGE_BYTES;
    uint64_t n_pages = 0, state = (2 * work.seed + 1) * 0x9E3779B97F4A7C15U;
    for (size_t i = 0; i < work.n_files; i++)
        n_pages += work.files[i].size_bytes / PAGE_BYTES;
    bool *seen = calloc((size_t)(n_pages / group_pages) + 1, sizeof *seen);
    char *buffer = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    bool ok = seen != NULL && buffer != NULL && work.latencies_us != NULL;
    for (unsigned i = 0; ok && i < work.n_random && i < n_pages / group_pages / 2; i++) {
        uint64_t page;
        do {
            page = next_random(&state) % n_pages;
        } while (seen[page / group_pages]);
        seen[page / group_pages] = true;
        const struct file *file = work.files;
        for (; page >= file->size_bytes / PAGE_BYTES; file++)
            page -= file->size_bytes / PAGE_BYTES;
        double start = now(CLOCK_MONOTONIC);
        ok = pread(file->descriptor, buffer, PAGE_BYTES, (off_t)(page * PAGE_BYTES)) == PAGE_BYTES;
        work.latencies_us[work.n_latencies++] = 1e6 * (now(CLOCK_MONOTONIC) - start);
        if (!ok)
            fail("read", file->path);
        atomic_fetch_add(&work.n_bytes, PAGE_BYTES);
    }
    free(buffer);
    free(seen);
    return ok;
}

static const struct pattern {
    const char *name;
    bool (*run)(void);
} patterns[] = {
    {"sequential", read_sequential},     {"mmap", read_mapped},
    {"populate", read_populated},        {"direct", read_direct},
    {"readers4", read_files_by_threads}, {"readers4_parts", read_parts_by_threads},
    {"random4k", read_random},
};

/* Pages of the file that are still in the page cache after it was asked to drop them. */
static uint64_t drop(const struct file *file)
{
    uint64_t n_left = 0;
    posix_fadvise(file->descriptor, 0, 0, POSIX_FADV_DONTNEED);
    size_t n_pages = (size_t)((file->size_bytes + PAGE_BYTES - 1) / PAGE_BYTES);
    if (n_pages == 0)
        return 0;
    void *bytes = mmap(NULL, (size_t)file->size_bytes, PROT_READ, MAP_SHARED, file->descriptor, 0);
    unsigned char *pages = malloc(n_pages);
    if (bytes != MAP_FAILED && pages != NULL && mincore(bytes, (size_t)file->size_bytes, pages) == 0)
        for (size_t i = 0; i < n_pages; i++)
            n_left += pages[i] & 1;
    free(pages);
    if (bytes != MAP_FAILED)
        munmap(bytes, (size_t)file->size_bytes);
    return n_left;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double percentile(double share)
{
    return work.n_latencies == 0 ? 0 : work.latencies_us[(size_t)(share * (double)(work.n_latencies - 1))];
}

static bool open_files(char *paths[], size_t n)
{
    work.files = calloc(n, sizeof *work.files);
    work.latencies_us = calloc(work.n_random, sizeof *work.latencies_us);
    if (work.files == NULL || work.latencies_us == NULL)
        return fail("memory", paths[0]);
    for (size_t i = 0; i < n; i++) {
        struct file *file = &work.files[i];
        struct stat facts;
        *file = (struct file){.path = paths[i], .descriptor = open(paths[i], O_RDONLY | O_CLOEXEC)};
        work.n_files++;
        if (file->descriptor < 0 || fstat(file->descriptor, &facts) != 0)
            return fail("open", paths[i]);
        file->size_bytes = (uint64_t)facts.st_size;
    }
    return true;
}

static bool measure(const struct pattern *pattern, bool is_warm)
{
    uint64_t n_left = 0;
    for (size_t i = 0; i < work.n_files && !is_warm; i++)
        n_left += drop(&work.files[i]);
    double cpu = now(CLOCK_PROCESS_CPUTIME_ID), start = now(CLOCK_MONOTONIC);
    if (!pattern->run())
        return false;
    double seconds = now(CLOCK_MONOTONIC) - start;
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(work.latencies_us, work.n_latencies, sizeof *work.latencies_us, compare_doubles);
    printf("{\"bytes\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"pages_left\": %llu",
           (unsigned long long)atomic_load(&work.n_bytes), seconds, cpu, (unsigned long long)n_left);
    if (work.n_latencies > 0)
        printf(", \"p50_us\": %.2f, \"p99_us\": %.2f", percentile(0.50), percentile(0.99));
    printf("}\n");
    return true;
}

int main(int argc, char *argv[])
{
    static const struct option option_table[] = {
        {"warm", no_argument, NULL, 'w'}, /* what is in the page cache stays there */
        {"seed", required_argument, NULL, 's'},
        {0},
    };
    bool is_warm = false, is_known = true;
    int option;
    while ((option = getopt_long(argc, argv, "", option_table, NULL)) != -1) {
        if (option == 'w')
            is_warm = true;
        else if (option == 's')
            work.seed = strtoull(optarg, NULL, 10);
        else
            is_known = false;
    }
    int first = optind;
    const struct pattern *pattern = NULL;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns && is_known && argc > first + 1; i++)
        if (strcmp(patterns[i].name, argv[first]) == 0)
            pattern = &patterns[i];
    if (pattern == NULL) {
        fprintf(
            stderr,
            "Usage: read_pattern [--warm] [--seed N] sequential|mmap|populate|direct|readers4|readers4_parts|"
            "random4k FILE...\n");
        return 2;
    }
    bool ok = open_files(argv + first + 1, (size_t)(argc - first - 1)) && measure(pattern, is_warm);
    for (size_t i = 0; i < work.n_files; i++)
        if (work.files[i].descriptor >= 0)
            close(work.files[i].descriptor);
    free(work.files);
    free(work.latencies_us);
    return ok ? 0 : 1;
}
