/* The fields that a spec may have, and the names that `specialize` may list. */
#include "compiler/spec/spec_load.h"

#include <string.h>

#define NOWHERE    0
#define AT(member) offsetof(Spec, member)
const Field spec_fields[] = {
#define SPEC_FIELD(key, type, required, initial, lo, hi, step, words, at, identity, ...)   \
  {#key, FT_##type, required, initial, lo, hi, step, words, at, ID_##identity, __VA_ARGS__},
#include "compiler/spec/spec_fields.def"
#undef SPEC_FIELD
};
#undef AT
#define AT(member) offsetof(SpecTable, member)
const Field spec_table_fields[] = {
#define TABLE_FIELD(key, type, required, initial, lo, hi, step, words, at, ...)            \
  {#key, FT_##type, required, initial, lo, hi, step, words, at, ID_NOTHING, __VA_ARGS__},
#include "compiler/spec/spec_fields.def"
#undef TABLE_FIELD
};
#undef AT

#define AT(member) offsetof(SpecBias, member)
const Field spec_bias_fields[] = {
#define BIAS_FIELD(key, type, required, initial, lo, hi, step, words, at, ...)             \
  {#key, FT_##type, required, initial, lo, hi, step, words, at, ID_NOTHING, __VA_ARGS__},
#include "compiler/spec/spec_fields.def"
#undef BIAS_FIELD
};
#undef AT

#define AT(member) offsetof(SpecBlocks, member)
const Field spec_blocks_fields[] = {
#define BLOCKS_FIELD(key, type, required, initial, lo, hi, step, words, at, ...)           \
  {#key, FT_##type, required, initial, lo, hi, step, words, at, ID_NOTHING, __VA_ARGS__},
#include "compiler/spec/spec_fields.def"
#undef BLOCKS_FIELD
};
#undef AT

#define AT(member) offsetof(SpecRope, member)
const Field spec_rope_fields[] = {
#define ROPE_FIELD(key, type, required, initial, lo, hi, step, words, at, ...)             \
  {#key, FT_##type, required, initial, lo, hi, step, words, at, ID_NOTHING, __VA_ARGS__},
#include "compiler/spec/spec_fields.def"
#undef ROPE_FIELD
};
#undef AT

const int n_spec_fields = SPEC_FIELD_COUNT;

const char *const specialize_names[SPECIALIZE_COUNT] = {
#define X(id, name, what) #name,
    ATTNC_SIZE_TABLE(X)
#undef X
        "strides",
#define X(key) #key,
#define SPEC_FIELD(key, type, required, initial, lo, hi, step, words, at, identity, ...)   \
  SCALAR_OF_##identity(X, key)
#include "compiler/spec/spec_fields.def"
#undef SPEC_FIELD
#undef X
};

const Field *
spec_field(const char *key)
{
  for (int i = 0; i < n_spec_fields; i++)
    if (str_eq(spec_fields[i].key, key))
      return &spec_fields[i];
  return NULL;
}

const Field *
spec_field_needs(const char *key)
{
  static const char *const pairs[][2] = {
#define SPEC_NEEDS(key, other) {#key, #other},
#include "compiler/spec/spec_fields.def"
#undef SPEC_NEEDS
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    if (str_eq(pairs[i][0], key))
      return spec_field(pairs[i][1]);
  return NULL;
}

int
spec_words(const Field *f)
{
  int n = 0;
  size_t len;
  while (spec_word(f, n, &len))
    n++;
  return n;
}

const char *
spec_word(const Field *f, int n, size_t *len)
{
  const char *p = f->words;
  while (p && *p && n-- > 0)
    p += strcspn(p, " ") + (p[strcspn(p, " ")] == ' ');
  *len = p ? strcspn(p, " ") : 0;
  return *len ? p : NULL;
}
