/* See standard_files.h. */
#include "codec/standard_files.h"

#include <fcntl.h>
#include <unistd.h>

bool entro_keep_standard_files(void)
{
    for (int file = 0; file <= 2; file++) {
        int mode = file == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        if (fcntl(file, F_GETFD) < 0 && open("/dev/null", mode) != file)
            return false;
    }
    return true;
}
