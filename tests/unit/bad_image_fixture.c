/* See bad_image_fixture.h. */
#include "bad_image_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int bad_image_set_up(void **state)
{
    struct bad_image *bad = calloc(1, sizeof *bad);
    assert_non_null(bad);
    fixture_folder_create(&bad->folder);
    bad->bytes = fixture_load(GOLDEN_IMAGE, &bad->size);
    memcpy(&bad->superblock, bad->bytes, sizeof bad->superblock);
    fixture_store(bad->folder.image, bad->bytes, bad->size);
    *state = bad;
    return 0;
}

int bad_image_tear_down(void **state)
{
    struct bad_image *bad = *state;
    fixture_folder_remove(&bad->folder);
    free(bad->bytes);
    free(bad);
    return 0;
}

enum entro_error bad_image_open(const struct bad_image *bad, struct entro_message *message)
{
    struct entro_image *image;
    *message = (struct entro_message){""};
    enum entro_error error = entro_image_open(&image, bad->folder.image, message);
    assert_int_equal(error == ENTRO_OK, image != NULL);
    if (error != ENTRO_OK) {
        /* One line, and it names the file. */
        assert_non_null(strstr(message->text, bad->folder.image));
        assert_null(strchr(message->text, '\n'));
    }
    entro_image_close(image);
    return error;
}
