/* fuzz_args.h: what fuzzers are asked for on the command line. */
#ifndef ATTNC_TESTS_FUZZ_ARGS_H
#define ATTNC_TESTS_FUZZ_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct FuzzArgs {
  long runs;
  uint64_t seed;
  const char *keep; /* a file for the input that fails */
} FuzzArgs;

/* Over what is there already; false: another word than --runs N, --seed N and --keep FILE.
 */
static inline bool
fuzz_args(FuzzArgs *to, int argc, char **argv)
{
  for (int i = 1; i < argc; i += 2) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (value && strcmp(argv[i], "--runs") == 0)
      to->runs = atol(value);
    else if (value && strcmp(argv[i], "--seed") == 0)
      to->seed = strtoull(value, NULL, 10);
    else if (value && strcmp(argv[i], "--keep") == 0)
      to->keep = value;
    else
      return false;
  }
  return true;
}

#endif
