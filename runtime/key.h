/* key.h: the name of a compiled kernel: SHA-256 over everything that decides its text.
 *
 * One table of labelled fields; each enters the hash with its label and the lengths of
 * both, so that a shifted border never gives the same key.  No path, time, device name or
 * pointer is among them.  `attnc key --explain` prints the fields. */
#ifndef ATTNC_RUNTIME_KEY_H
#define ATTNC_RUNTIME_KEY_H

#include "schedule/schedule.h"

#include <attnc/attnc_rt.h>
#include <jansson.h>

/* field, what it is */
#define KEY_TABLE(X)                                                                       \
  X(schema, "format of keys and entries")                                                  \
  X(spec_hash, "SHA-256 of the spec's canonical text")                                     \
  X(op, "what is computed: fwd")                                                           \
  X(values, "values of the names that the spec specialises")                               \
  X(schedule, "template, its revision, tile sizes")                                        \
  X(target, "architecture with its suffix")                                                \
  X(ptx_version, "of the PTX ISA")                                                         \
  X(options, "code generation options")                                                    \
  X(code_id, "hash over the sources that decide the PTX and the recipe")                   \
  X(llvm, "version of LLVM")                                                               \
  X(sm_count, "multiprocessors, if the kernel's text depends on them")                     \
  X(entered, "stage and hash of a text that was compiled instead of the generated one")

#define KEY_SCHEMA "attnc.entry/1"

typedef struct KeyFields {
#define X(field, text) const char *field; /* NULL counts as empty */
  KEY_TABLE(X)
#undef X
} KeyFields;

void key_hash(const KeyFields *, unsigned char key[32]);
/* {"key": hex, "source": of the schedule, "schedule": {template, fields}, "lengths": as
 * jit_lengths, whose reference is taken, "fields": {label: value, …}} in the table's order;
 * malloc'd. */
attnc_status key_json(const KeyFields *, const Schedule *, const char *source,
                      json_t *lengths, char **json, attnc_error *);

#endif
