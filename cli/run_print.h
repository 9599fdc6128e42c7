/* run_print.h: what one run found, and how it is told: as text, in one line, as JSON. */
#ifndef ATTNC_CLI_RUN_PRINT_H
#define ATTNC_CLI_RUN_PRINT_H

#include "cli/cli.h"

#include "harness/execute.h"

typedef struct RunResult {
  const char *path, *name, *shape;
  attnc_status status; /* of everything up to the results; the error when it is not OK */
  attnc_error error;
  bool verified, timed, has_tiles, emulated, has_lse;
  const char *device;
  json_t *plan; /* attnc_plan_json; NULL when there is no plan */
  attnc_tile_counts tiles;
  Verdict verdict;
  int64_t all_rows; /* of the problem; verdict.rows were compared */
  Timing timing;
  char *findings; /* one a line, malloc'd; NULL: none */
  char *profile;  /* JSON, malloc'd */
  attncEmuStats stats;
  bool has_stats;
  json_t *sectors_read; /* with stats: by tensor of the call; NULL: the emulator has none */
} RunResult;

int run_exit_code(const RunResult *);
void run_print(const Cli *, const RunResult *);
void run_print_brief(const Cli *, const RunResult *, int width);
json_t *run_json(const RunResult *);
void run_free(RunResult *);

#endif
