/* ptx.h: what compiler and runtime have to agree on about PTX text: the versions of the ISA
 * and the drivers that take them, the mark that pairs a text with a recipe, and what
 * parameters its entries have.  No instruction is known here. */
#ifndef ATTNC_BASE_PTX_H
#define ATTNC_BASE_PTX_H

#include <attnc/attnc_rt.h>

#include <stdbool.h>
#include <stddef.h>

/* Version (70 is 7.0) and the lowest cuDriverGetVersion that takes it: PTX ISA, "Release
 * Notes", PTX release history, from 7.0 (sm_80) to the last that LLVM 22 writes.  8.6 came
 * with CUDA 12.7: 12.6 has 8.5, as 12.5. */
#define PTX_VERSION_TABLE(X)                                                               \
  X(63, 10000)                                                                             \
  X(64, 10010)                                                                             \
  X(65, 10020)                                                                             \
  X(70, 11000)                                                                             \
  X(71, 11010)                                                                             \
  X(72, 11020)                                                                             \
  X(73, 11030)                                                                             \
  X(74, 11040)                                                                             \
  X(75, 11050)                                                                             \
  X(76, 11060)                                                                             \
  X(77, 11070)                                                                             \
  X(78, 11080)                                                                             \
  X(80, 12000)                                                                             \
  X(81, 12010)                                                                             \
  X(82, 12020)                                                                             \
  X(83, 12030)                                                                             \
  X(84, 12040)                                                                             \
  X(85, 12050)                                                                             \
  X(86, 12070)                                                                             \
  X(87, 12080)                                                                             \
  X(88, 12090)                                                                             \
  X(90, 13000)

/* The lowest driver that takes a version; 0: not in the table. */
int ptx_driver(int version);
/* The version that a text such as "8.0" asks for (NULL: `lowest`, which the kernel needs).
 * ATTNC_ERR_USAGE: it is none; ATTNC_ERR_UNSUPPORTED: it is below `lowest` or not written.
 */
attnc_status ptx_version_read(const char *text, int lowest, int *version, attnc_error *);

/* The mark: the first line of a text that attnc wrote, a comment:
 *
 *   // attnc mark HASH HOW
 *
 * HASH stands in the recipe too: a SHA-256 in hexadecimal over all that a recipe says of
 * how the kernel is launched.  HOW is the schedule, as --schedule takes it, for people.
 * LLVM IR has the line behind a ';'.  Other comments may stand before it. */
enum { PTX_MARK = 64 };
/* The line, without its comment sign and the end. */
#define PTX_MARK_LINE "attnc mark %s %s"
/* The hash in a text; false: there is no mark.  *how is not terminated; NULL: not wanted.
 */
bool ptx_mark(const char *text, char hash[PTX_MARK + 1], const char **how, size_t *how_n);

/* What the text's .version says, 70 for 7.0; 0: nothing, or no number. */
int ptx_text_version(const char *text);

/* Bytes of the parameters of an entry, the first `most` of them; how many there are in all,
 * -1: the text has no such entry. */
int ptx_params(const char *text, const char *entry, unsigned *bytes, int most);

/* A text and what a recipe says of it.  `bad` is the status of a text that is refused, and
 * `what` names it in the message. */
typedef struct PtxPair {
  const char *text, *what;
  attnc_status bad;
} PtxPair;
attnc_status ptx_check_mark(const PtxPair *, const char *hash, attnc_error *);
/* The recipe's parameters have so many bytes each. */
attnc_status ptx_check_entry(const PtxPair *, const char *entry, const unsigned *bytes,
                             int n, attnc_error *);

#endif
