/* form.h: from a mnemonic to the row of ops.def that allows it.
 *
 * The table is strict: a modifier that no form of the opcode has is an error which names
 * it. A form with the modifiers in their order comes first, then one that has them in
 * another: ptxas takes any order, and compilers and hand-written kernels use many.  Nothing
 * here knows what an instruction does. */
#ifndef ATTNC_EMULATOR_FORM_H
#define ATTNC_EMULATOR_FORM_H

#include "emulator/ptx/ptx.h"

#include <stddef.h>

typedef enum Mod {
#define MOD(id, name) M_##id,
#include "emulator/ptx/mods.def"
#undef MOD
  MOD_COUNT
} Mod;

enum { FORM_TYPES = 4, FORM_MODS = 24 };

typedef struct Mods {
  uint64_t set[6]; /* of Mod */
  uint8_t t[FORM_TYPES];
  int nt;
  uint16_t n_of_shape;          /* of a matrix shape m64n#… */
  uint16_t in_order[FORM_MODS]; /* Mod, or MOD_COUNT + Type */
  int n;
} Mods;

typedef struct Dec Dec;
typedef void Build(Dec *);

typedef struct Form {
  const char *mnemonic, *opnds;
  int sm, version; /* sm: target.h, "needs" */
  Build *build;
  int arg;
} Form;

extern const Form forms[];
extern const int n_forms;

/* NULL: why says what is not known. */
const Form *form_find(const char *op, int n, Mods *, char *why, size_t n_why);

static inline bool
mod_is(const Mods *m, Mod id)
{
  return m->set[id / 64] >> (id % 64) & 1;
}

#endif
