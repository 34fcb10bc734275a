/*
 * Runs a fuzz target over every file of the folders and files named on the command line, without a fuzzer, so
 * that found inputs stay tests. Fails where there is nothing to replay.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    int result = -1;
    uint8_t *data = NULL;
    if (fseek(file, 0, SEEK_END) != 0)
        goto out;
    long size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET) != 0)
        goto out;
    /* Exactly as large as the input: a read past the end is then the sanitizer's to see. */
    data = malloc(size > 0 ? (size_t)size : 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size)
        goto out;
    LLVMFuzzerTestOneInput(data, (size_t)size);
    result = 0;
out:
    if (result != 0)
        fprintf(stderr, "cannot read %s\n", path);
    free(data);
    fclose(file);
    return result;
}

static int replay_folder(const char *path, unsigned *n_replayed)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        perror(path);
        return -1;
    }
    int result = 0;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char name[4096];
        struct stat status;
        int length = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (length < 0 || (size_t)length >= sizeof name || stat(name, &status) != 0 ||
            !S_ISREG(status.st_mode))
            continue;
        if (replay_file(name) != 0)
            result = -1;
        ++*n_replayed;
    }
    closedir(folder);
    return result;
}

int main(int argc, char **argv)
{
    unsigned n_replayed = 0;
    int result = 0;
    for (int i = 1; i < argc; i++) {
        struct stat status;
        if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode)) {
            result |= replay_folder(argv[i], &n_replayed);
        } else {
            result |= replay_file(argv[i]);
            n_replayed++;
        }
    }
    printf("%u inputs replayed\n", n_replayed);
    return result == 0 && n_replayed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
