/* Writes the golden image: make_golden FILE. See README.md beside this file for when to do that. */
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"

int main(int argc, char **argv)
{
    struct entro_pool *pool = NULL;
    struct entro_message message = {""};
    if (argc != 2) {
        fprintf(stderr, "usage: make_golden FILE\n");
        return EXIT_FAILURE;
    }
    enum entro_error error = entro_pool_create(&pool, 1);
    if (error == ENTRO_OK)
        error = golden_write(argv[1], pool, &message);
    entro_pool_free(pool);
    if (error != ENTRO_OK) {
        fprintf(stderr, "make_golden: %s: %s\n", entro_error_name(error), message.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
