/* tune.h: the parts of `attnc tune`.
 *
 * tune_items.c: which specs at which sizes, and which of them are this shard's;
 * tune_print.c: what came out, as text and JSON; tune_files.c: as rows and as pictures. */
#ifndef ATTNC_CLI_TUNE_H
#define ATTNC_CLI_TUNE_H

#include "cli/cli.h"

/* A spec at sizes, and what came out of its sweep. */
typedef struct TuneItem {
  const LoadedSpec *spec;
  attnc_sizes sizes;
  const char *shape; /* as text */
  attnc_tuning *tuning;
  json_t *json; /* of the tuning; NULL: it has none */
  attnc_status status;
  attnc_error error;
} TuneItem;

typedef struct TuneList {
  VEC(LoadedSpec) specs;
  VEC(TuneItem) items;
  bool many;     /* of a list, not one problem of --shape */
  int elsewhere; /* that other shards have */
} TuneList;

/* Which part of how many: --shard, or what the launcher says; 0 of 1 where nothing is. */
typedef struct Shard {
  int index, count;
} Shard;
attnc_status tune_shard(const Cli *, Shard *, attnc_error *);
/* Loads the specs, reads --shape or --shapes.  Of a list every count-th problem is the
 * shard's. */
attnc_status tune_list_read(const Cli *, const Shard *, TuneList *, attnc_error *);
void tune_list_free(TuneList *);

/* Ranks from 1, equal values sharing their mean rank; Spearman's coefficient. */
double spearman(const double *x, const double *y, int n);

const char *tune_candidate_text(const attnc_tuned *, Arena *);
bool tune_is_measured(const attnc_tuned *);
void tune_print_table(const Cli *, const TuneItem *, const Device *);
/* The sweep's JSON, with what --rank asks for; a new reference. */
json_t *tune_item_json(const Cli *, const TuneItem *);

/* --csv and --svg, where they are asked for. */
attnc_status tune_write_files(const Cli *, const TuneList *, attnc_error *);

#endif
