/*
 * Reads weights as a runner does while it generates: maps every file once, then passes over all of them in
 * the order given, again and again, and sums what it reads. Prints the first pass's seconds, how many passes
 * came after it and in how many seconds, and the sum of one pass.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIN_PASSES 2U

struct weights {
    const uint8_t *bytes;
    size_t size_bytes;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static bool map(const char *path, struct weights *weights)
{
    struct stat facts;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = file >= 0 && fstat(file, &facts) == 0 && facts.st_size > 0;
    if (ok) {
        void *bytes = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_SHARED, file, 0);
        ok = bytes != MAP_FAILED;
        *weights = (struct weights){ok ? bytes : NULL, (size_t)facts.st_size};
    }
    if (!ok)
        fprintf(stderr, "weights_pass: %s: %s\n", path, errno == 0 ? "empty" : strerror(errno));
    if (file >= 0)
        close(file);
    return ok;
}

static uint64_t sum_bytes(const struct weights *weights)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < weights->size_bytes; i++)
        sum += weights->bytes[i];
    return sum;
}

static uint64_t pass(const struct weights *weights, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += sum_bytes(&weights[i]);
    return sum;
}

/* Passes until `seconds` are over; false where two passes do not read the same. */
static bool repeat(const struct weights *weights, size_t n, double seconds)
{
    double start = now();
    uint64_t sum = pass(weights, n);
    double first = now() - start, elapsed;
    unsigned n_passes = 0;
    start = now();
    do {
        if (pass(weights, n) != sum) {
            fprintf(stderr, "weights_pass: two passes read different bytes\n");
            return false;
        }
        n_passes++;
        elapsed = now() - start;
    } while (elapsed < seconds || n_passes < MIN_PASSES);
    printf("%.3f %u %.3f %" PRIu64 "\n", first, n_passes, elapsed, sum);
    return true;
}

int main(int argc, char *argv[])
{
    if (argc < 3) {
        fprintf(stderr, "Usage: weights_pass SECONDS FILE...\n");
        return 2;
    }
    size_t n = (size_t)(argc - 2), n_mapped = 0;
    struct weights *weights = calloc(n, sizeof *weights);
    bool ok = weights != NULL;
    while (ok && n_mapped < n && (ok = map(argv[n_mapped + 2], &weights[n_mapped])))
        n_mapped++;
    ok = ok && repeat(weights, n, strtod(argv[1], NULL));
    for (size_t i = 0; i < n_mapped; i++)
        munmap((void *)(uintptr_t)weights[i].bytes, weights[i].size_bytes);
    free(weights);
    return ok ? 0 : 1;
}
