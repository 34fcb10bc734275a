/* Input: a file of importances, of either form. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "codec/models/imatrix.h"

#define MAX_SIZE ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* What an accepted matrix promises. */
static void check(const struct entro_imatrix *imatrix)
{
    require(imatrix->n_entries > 0 && imatrix->dataset != NULL);
    for (size_t i = 0; i < imatrix->n_entries; i++) {
        const struct entro_imatrix_entry *entry = &imatrix->entries[i];
        require(entry->n_matrices > 0 && entry->n_columns > 0);
        require(entro_imatrix_find(imatrix, entry->name) == entry);
        for (size_t k = 0; k < entry->n_matrices; k++)
            require(isfinite(entry->counts[k]) && entry->counts[k] >= 0);
        for (size_t k = 0; k < entry->n_matrices * entry->n_columns; k++)
            require(isfinite(entry->mean_squares[k]) && entry->mean_squares[k] >= 0);
        require(entry->n_directions == 0 || entry->n_matrices == 1);
        require(entry->n_directions == 0 || imatrix->source != NULL);
        const struct entro_imatrix_entry *of_input = entro_imatrix_find_directions(imatrix, entry->name);
        require(of_input == NULL || (of_input->n_directions > 0 && of_input->n_columns == entry->n_columns));
        require(entry->n_directions == 0 || of_input == entry);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entro_imatrix imatrix;
    struct entro_message message;
    char path[64];
    if (size > MAX_SIZE)
        return 0;
    int fd = memfd_create("imatrix", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (entro_imatrix_open(&imatrix, path, &message) == ENTRO_OK) {
        check(&imatrix);
        entro_imatrix_free(&imatrix);
    }
    close(fd);
    return 0;
}
