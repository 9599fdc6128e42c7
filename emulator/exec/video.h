/* video.h: PTX ISA, "Video instructions", on values of 33 bits and more, lane by lane. */
#ifndef ATTNC_EMULATOR_VIDEO_H
#define ATTNC_EMULATOR_VIDEO_H

#include <stdbool.h>
#include <stdint.h>

typedef enum VideoOp {
  V_ADD,
  V_SUB,
  V_ABSDIFF,
  V_AVRG,
  V_MIN,
  V_MAX,
  V_SHL_CLAMP,
  V_SHL_WRAP,
  V_SHR_CLAMP,
  V_SHR_WRAP,
  V_EQ, /* vset: 1 or 0 */
  V_NE,
  V_LT,
  V_LE,
  V_GT,
  V_GE,
  V_MAD,
} VideoOp;
typedef enum VideoSecond { SECOND_NONE, SECOND_ADD, SECOND_MIN, SECOND_MAX } VideoSecond;
typedef enum VideoFlag {
  VIDEO_D_SIGNED = 1,
  VIDEO_A_SIGNED = 2,
  VIDEO_B_SIGNED = 4,
  VIDEO_SAT = 8,
  VIDEO_MINUS = 16,   /* vmad: of the product, */
  VIDEO_MINUS_C = 32, /* of c, */
  VIDEO_PLUS_ONE = 64,
} VideoFlag;
enum { PART_B0, PART_B1, PART_B2, PART_B3, PART_H0, PART_H1, PART_ALL };

typedef struct VideoForm {
  uint8_t op, elements; /* 1, 2 or 4 */
  uint8_t flags, second;
  uint8_t d;          /* part that is written; of several elements: those, a bit each */
  uint8_t shift;      /* vmad: 0, 7, 15 */
  uint8_t a[4], b[4]; /* part; of several: which half or byte of b:a each is */
} VideoForm;

uint32_t video_run(const VideoForm *, uint32_t a, uint32_t b, uint32_t c);

#endif
