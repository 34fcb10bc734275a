/* The stock of workspaces; see reader_internal.h. */
#include <stdlib.h>

#include "fs/reader_internal.h"

/* Decoded bytes begin where a cache line and a vector do. */
#define ALIGNMENT 64

static void workspace_free(struct entro_workspace *workspace)
{
    if (workspace == NULL)
        return;
    entro_decoder_free(workspace->decoder);
    free(workspace->planes);
    free(workspace->codes);
    free(workspace->reply);
    free(workspace);
}

static struct entro_workspace *workspace_create(void)
{
    struct entro_workspace *workspace = calloc(1, sizeof *workspace);
    if (workspace == NULL)
        return NULL;
    workspace->decoder = entro_decoder_create();
    workspace->planes = aligned_alloc(ALIGNMENT, ENTRO_PIECE_BYTES);
    workspace->codes = aligned_alloc(ALIGNMENT, ENTRO_PIECE_BYTES);
    if (workspace->decoder == NULL || workspace->planes == NULL || workspace->codes == NULL) {
        workspace_free(workspace);
        return NULL;
    }
    return workspace;
}

void entro_workspaces_init(struct entro_workspaces *workspaces)
{
    workspaces->stock = NULL;
    pthread_mutex_init(&workspaces->mutex, NULL);
}

void entro_workspaces_free(struct entro_workspaces *workspaces)
{
    while (workspaces->stock != NULL) {
        struct entro_workspace *next = workspaces->stock->next;
        workspace_free(workspaces->stock);
        workspaces->stock = next;
    }
    pthread_mutex_destroy(&workspaces->mutex);
}

struct entro_workspace *entro_workspace_take(struct entro_workspaces *workspaces)
{
    pthread_mutex_lock(&workspaces->mutex);
    struct entro_workspace *workspace = workspaces->stock;
    if (workspace != NULL)
        workspaces->stock = workspace->next;
    pthread_mutex_unlock(&workspaces->mutex);
    return workspace != NULL ? workspace : workspace_create();
}

void entro_workspace_put(struct entro_workspaces *workspaces, struct entro_workspace *workspace)
{
    pthread_mutex_lock(&workspaces->mutex);
    workspace->next = workspaces->stock;
    workspaces->stock = workspace;
    pthread_mutex_unlock(&workspaces->mutex);
}

uint8_t *entro_workspace_reply(struct entro_workspace *workspace, size_t size_bytes)
{
    if (size_bytes <= workspace->reply_bytes)
        return workspace->reply;
    size_t rounded = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    uint8_t *longer = rounded < size_bytes ? NULL : aligned_alloc(ALIGNMENT, rounded);
    if (longer == NULL)
        return NULL;
    free(workspace->reply);
    workspace->reply = longer;
    workspace->reply_bytes = rounded;
    return longer;
}
