/* A rename that replaces nothing, on any file system. */
#ifndef ENTRO_RENAME_NEW_H
#define ENTRO_RENAME_NEW_H

/* Within the open folder `folder`. 0, or -1 with errno set: EEXIST where `to` is there already. */
int entro_rename_new(int folder, const char *from, const char *to);

#endif
