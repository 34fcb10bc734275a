/*
 * Between source.c, the walk and the readers of the model files' headers.
 */
#ifndef ENTRO_SOURCE_INTERNAL_H
#define ENTRO_SOURCE_INTERNAL_H

#include "codec/models/tensor.h"
#include "mkentrofs/source.h"

/* Fill part->tensors from the file's header. On failure part has none. */
enum entro_error entro_part_read_safetensors(struct entro_part *part, const struct entro_monitor *monitor,
                                             struct entro_message *message);
enum entro_error entro_part_read_gguf(struct entro_part *part, const struct entro_monitor *monitor,
                                      struct entro_message *message);
enum entro_error entro_part_read_npy(struct entro_part *part, const struct entro_monitor *monitor,
                                     struct entro_message *message);

/* Gives a part the tensors of a header, whose names it takes over; on failure it has none. */
enum entro_error entro_part_take_tensors(struct entro_part *part, struct entro_model_tensor *tensors,
                                         size_t n_tensors, struct entro_message *message);
void entro_part_free_tensors(struct entro_part *part);

/* Checks every index of shards (*.safetensors.index.json) of the tree: each tensor it lists is in the file
 * that it names. */
enum entro_error entro_source_check_indices(const struct entro_source_tree *tree,
                                            const struct entro_monitor *monitor,
                                            struct entro_message *message);

/* Checks that all tensor names can be names of files on the mount and that no two tensors have the same. */
enum entro_error entro_source_check_names(const struct entro_source_tree *tree,
                                          struct entro_message *message);

/* Lists the files of the source in tree->parts, sorted by path; on failure the caller frees the tree. */
enum entro_error entro_source_walk(struct entro_source_tree *tree, const struct entro_source_options *options,
                                   const struct entro_monitor *monitor, struct entro_message *message);

/* By the name's suffix. */
enum entro_part_kind entro_part_kind_of_name(const char *path);

bool entro_has_suffix(const char *text, const char *suffix);

#endif
