/* mask_picture.h: the tiles of a spec's mask: counted, in characters, as SVG. */
#ifndef ATTNC_CLI_MASK_PICTURE_H
#define ATTNC_CLI_MASK_PICTURE_H

#include "cli/cli.h"
#include "harness/tensors.h"

/* Of one batch and head. */
typedef struct MaskPicture {
  const Cli *c;
  const LoadedSpec *spec;
  Tensors tables; /* what the mask reads, by --seed */
  int64_t b, h;
  int bm, bn;
  attnc_tile_counts decided, truth; /* as loops decide, and as they are */
  bool has_truth;                   /* few enough pairs to try */
  char *map, *true_map;             /* of all tiles; NULL: there are too many to draw */
} MaskPicture;

/* By --batch, --head and --seed; to be closed. */
attnc_status mask_picture_open(MaskPicture *, const Cli *, const LoadedSpec *,
                               const attnc_sizes *, int bm, int bn, attnc_error *);
void mask_picture_close(MaskPicture *);

/* Its tiles are listed by a first launch: decided are the true ones.  False: there are too
 * many pairs to know. */
bool mask_picture_exact(MaskPicture *);
void mask_put_counts(const MaskPicture *, Str *);
/* What the loop is and why, a line for each sentence. */
void mask_put_why(const MaskPicture *, Str *);
/* In characters; where there are too many tiles, of blocks that are larger by a whole
 * factor. */
attnc_status mask_put_picture(const MaskPicture *, Str *, attnc_error *);
json_t *mask_json(const MaskPicture *);
/* Where --svg asks for it. */
attnc_status mask_write_svg(const MaskPicture *, attnc_error *);

#endif
