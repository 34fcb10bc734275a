/* What config_json.c and config_gguf.c share. */
#ifndef ENTRO_RUNNER_CONFIG_INTERNAL_H
#define ENTRO_RUNNER_CONFIG_INTERNAL_H

#include "runner/config.h"

/* Bounds of what a config may say: beyond any model, and small enough that no product of three of them
 * overflows. */
#define ENTRO_MAX_WIDTH      ((size_t)1 << 20)
#define ENTRO_MAX_HEAD_DIM   ((size_t)4096)
#define ENTRO_MAX_VOCABULARY ((size_t)1 << 24)
#define ENTRO_MAX_CONTEXT    ((size_t)1 << 24)

/* What must hold between the numbers, whichever file they came from; n_layers is checked before anything
 * else, by entro_config_check_layers, where something is kept for each layer. */
enum entro_error entro_config_check(const struct entro_config *config, const char *path,
                                    struct entro_message *message);
enum entro_error entro_config_check_layers(const struct entro_config *config, const char *path,
                                           struct entro_message *message);

/* Gives windows to all layers, to those from `first` on, or to all but every n-th (n > 0). n_layers has been
 * checked. */
void entro_config_set_window(struct entro_config *config, size_t layer);
void entro_config_set_windows_from(struct entro_config *config, size_t first);
void entro_config_set_windows_but_every(struct entro_config *config, size_t n);

#endif
