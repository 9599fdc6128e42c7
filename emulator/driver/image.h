/* image.h: what a program hands the driver as code.  PTX text is taken as it is; of a fat
 * binary the PTX that fits the chip best is taken out; machine code is refused, since there
 * is nobody here to execute it. */
#ifndef ATTNC_EMULATOR_IMAGE_H
#define ATTNC_EMULATOR_IMAGE_H

#include "emulator/driver/settings.h"

typedef struct Image {
  const char *text; /* PTX, 0-terminated */
  char *owned;      /* that text where it had to be made; for free */
} Image;

/* An error says why in the log, which ends with a newline. */
CUresult image_read(Image *, const void *data, const Chip *, char *log, size_t n);

/* A whole file, 0-terminated, for free: CUDA_ERROR_FILE_NOT_FOUND, _OUT_OF_MEMORY. */
CUresult image_file(const char *path, char **data);

/* Exactly n bytes from the LZ4 block (its format's description, lz4_Block_format.md);
 * false: it is none. */
bool lz4_decode(const uint8_t *block, size_t size, uint8_t *out, size_t n);

#endif
