/* An image with a tensor of each kind that the GPU decodes, and one that it does not. */
#ifndef ENTRO_CUDA_CODED_IMAGE_H
#define ENTRO_CUDA_CODED_IMAGE_H

#ifdef __cplusplus
extern "C" {
#endif

/* "u8", "u4" (whose root is coded), "constant", "bf16", "f16", "f32", "empty"; "q8_0" is left to the CPU.
 * Fails the test where it fails. */
void coded_image_write(const char *path);

#ifdef __cplusplus
}
#endif

#endif
