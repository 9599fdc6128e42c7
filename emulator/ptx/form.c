#include "emulator/ptx/form.h"

#include <stdio.h>
#include <string.h>

static const char *const mod_names[MOD_COUNT] = {
#define MOD(id, name) [M_##id] = name,
#include "emulator/ptx/mods.def"
#undef MOD
};

typedef struct Set {
  const char *name, *members;
} Set;

static const Set sets[] = {
#define SET(name, members) {name, members},
#define ON(name, list)
#define FORM(mnemonic, opnds, sm, version, build, arg)
#include "emulator/ptx/ops.def"
#undef SET
#undef ON
#undef FORM
};

_Static_assert(MOD_COUNT < 64 * sizeof((Mods *)0)->set / 8, "a modifier has its bit");

static bool
same(const char *s, int n, const char *z)
{
  return (int)strlen(z) == n && !memcmp(s, z, (size_t)n);
}

/* m64n<8 … 256>k…: the modifier m64n#k…, and n. */
static int
find_shape(const char *s, int n, Mods *m)
{
  char name[16];
  int cols = 0, i = 4;
  if (n > 12 || memcmp(s, "m64n", (size_t)(n < 4 ? n : 4)))
    return -1;
  for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
    cols = cols * 10 + s[i] - '0';
  if (s[4] == '0' || cols < 8 || cols > 256 || cols % 8)
    return -1;
  int len = snprintf(name, sizeof name, "m64n#%.*s", n - i, s + i);
  m->n_of_shape = (uint16_t)cols;
  for (int id = M_M64K8; id <= M_M64K32; id++)
    if (same(name, len, mod_names[id]))
      return id;
  return -1;
}

static int
find_mod(const char *s, int n)
{
  int type = type_find(s, n);
  if (type >= 0)
    return MOD_COUNT + type;
  for (int i = 0; i < MOD_COUNT; i++)
    if (same(s, n, mod_names[i]))
      return i;
  return -1;
}

static const char *
mod_name(int id)
{
  return id < MOD_COUNT ? mod_names[id] : type_info[id - MOD_COUNT].name;
}

/* "a|b|c" has the name? */
static bool
has(const char *list, int n, const char *name)
{
  size_t len = strlen(name);
  for (const char *p = list, *end = list + n; p < end;) {
    const char *bar = memchr(p, '|', (size_t)(end - p));
    const char *stop = bar ? bar : end;
    if ((size_t)(stop - p) == len && !memcmp(p, name, len))
      return true;
    p = stop + 1;
  }
  return false;
}

static bool
in_slot(const char *slot, int n, const char *name)
{
  if (*slot != '@')
    return has(slot, n, name);
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    if (same(slot + 1, n - 1, sets[i].name))
      return has(sets[i].members, (int)strlen(sets[i].members), name);
  return false;
}

/* How many modifiers of m the form takes in order; all and the form's end: m->n + 1. */
static int
matched(const Form *f, const Mods *m)
{
  const char *p = strchr(f->mnemonic, ' ');
  int i = 0;
  while (p) {
    const char *slot = p + 1;
    p = strchr(slot, ' ');
    int n = p ? (int)(p - slot) : (int)strlen(slot);
    bool optional = slot[n - 1] == '?';
    if (i < m->n && in_slot(slot, n - optional, mod_name(m->in_order[i])))
      i++;
    else if (!optional)
      return i;
  }
  return i == m->n ? i + 1 : i;
}

/* Modifiers whose order says which operand each speaks of; 0: the others. */
static int
ordered_kind(int id)
{
  switch (id) {
  case M_TO: /* of cvta: before the space */
  case M_GLOBAL:
  case M_SHARED:
  case M_SHARED_CTA:
  case M_SHARED_CLUSTER:
  case M_PARAM:
  case M_PARAM_ENTRY:
  case M_LOCAL:
  case M_CONST:
    return 1;
  case M_ROW:
  case M_COL:
    return 2;
  case M_E4M3:
  case M_E5M2:
  case M_E3M2:
  case M_E2M3:
  case M_E2M1:
    return 3;
  case M_B8X16: /* in registers, then in memory */
  case M_B6X16_P32:
  case M_B4X16_P64:
    return 5;
  case M_LO: /* of mul, mad, dp2a, cvt: before the types */
  case M_PACK:
  case M_HI:
  case M_WIDE:
  case M_CC:
    return 4;
  default:
    return id < MOD_COUNT ? 0 : 4;
  }
}

/* wmma.load.a and the like: the modifier stays at its place. */
static bool
names_instruction(int id)
{
  return id >= M_LOAD && id <= M_D;
}

/* The modifier of m that fills slot `nth`, among those not in `used`; -1: none. */
static int
filler(const char *slot, int n, int nth, const Mods *m, uint32_t used)
{
  uint32_t passed = 0;
  for (int i = 0; i < m->n; i++) {
    int kind = ordered_kind(m->in_order[i]);
    if (used >> i & 1 || passed >> kind & 1)
      continue;
    if (in_slot(slot, n, mod_name(m->in_order[i])))
      return names_instruction(m->in_order[i]) && i != nth ? -1 : i;
    passed |= kind ? 1u << kind : 0;
  }
  return -1;
}

/* Opcodes whose first modifiers are part of the instruction's name. */
static bool
in_fixed_order(const char *op, int n)
{
  static const char *const fixed[] = {"clusterlaunchcontrol",
                                      "createpolicy",
                                      "bar",
                                      "barrier",
                                      "brx",
                                      "cp",
                                      "fence",
                                      "mbarrier",
                                      "shf",
                                      "wgmma",
                                      "tensormap"};
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
    if (same(op, n, fixed[i]))
      return true;
  return false;
}

/* .v2, .v4 and .v8 stand before the type. */
static bool
vector_apart(const Mods *m)
{
  for (int i = 0; i < m->n; i++)
    if ((m->in_order[i] == M_V2 || m->in_order[i] == M_V4 || m->in_order[i] == M_V8) &&
        (i + 1 == m->n || m->in_order[i + 1] < MOD_COUNT))
      return true;
  return false;
}

/* st.async, red.async, st.bulk: the first modifier is part of the name. */
static bool
has_two_names(const Form *f)
{
  const char *p = strchr(f->mnemonic, ' ');
  return p && (!strncmp(p, " async ", 7) || !strncmp(p, " bulk ", 6));
}

/* The form takes the modifiers in another order: ptxas takes any, but that types, state
 * spaces and layouts of operands stay in theirs. */
static bool
matched_anyhow(const Form *f, const Mods *m)
{
  uint32_t used = 0;
  if (vector_apart(m) || has_two_names(f))
    return false;
  int nth = 0;
  for (const char *p = strchr(f->mnemonic, ' '); p; nth++) {
    const char *slot = p + 1;
    p = strchr(slot, ' ');
    int n = p ? (int)(p - slot) : (int)strlen(slot);
    bool optional = slot[n - 1] == '?';
    int i = filler(slot, n - optional, nth, m, used);
    if (i >= 0)
      used |= 1u << i;
    else if (!optional)
      return false;
  }
  return used == (1u << m->n) - 1;
}

/* What is not emulated on purpose, by the modifier that asks for it. */
static const struct {
  const char *mod, *why;
} left_out[] = {
    {"sp", "sparse matrices are not emulated"},
    {"sp::ordered_metadata", "sparse matrices are not emulated"},
    {"u4", "integers of 4 bits are not emulated in products"},
    {"s4", "integers of 4 bits are not emulated in products"},
    {"b1", "products of single bits are not emulated"},
    {"block_scale", "block scales are not emulated"},
    {"im2col", "boxes of im2col are not emulated"},
    {"im2col::w", "boxes of im2col are not emulated"},
    {"im2col::w::128", "boxes of im2col are not emulated"},
    {"cta_group::2", "copies for a pair of CTAs are not emulated"},
};

static const char *
why_not(const char *op, int n)
{
  for (const char *p = op; p < op + n;) {
    const char *dot = memchr(p, '.', (size_t)(op + n - p));
    const char *end = dot ? dot : op + n;
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
      if (same(p, (int)(end - p), left_out[i].mod))
        return left_out[i].why;
    p = end + 1;
  }
  return NULL;
}

static bool
read_mods(const char *op, int n, int opcode, Mods *m, char *why, size_t n_why)
{
  for (int i = opcode; i < n;) {
    int from = ++i;
    while (i < n && op[i] != '.')
      i++;
    int id = find_mod(op + from, i - from);
    if (id < 0)
      id = find_shape(op + from, i - from, m);
    if (id < 0 || m->n == FORM_MODS) {
      const char *known = why_not(op, n);
      snprintf(why, n_why, "%.*s: no modifier .%.*s is known%s%s", opcode, op, i - from,
               op + from, known ? ": " : "", known ? known : "");
      return false;
    }
    m->in_order[m->n++] = (uint16_t)id;
    if (id < MOD_COUNT)
      m->set[id / 64] |= 1ull << (id % 64);
    else if (m->nt < FORM_TYPES)
      m->t[m->nt++] = (uint8_t)(id - MOD_COUNT);
  }
  return true;
}

/* What is not emulated on purpose, by its opcode; NULL: any other. */
static const char *
opcode_left_out(const char *op, int n)
{
  static const struct {
    const char *opcode, *why;
  } table[] = {
      {"multimem", "memory of several devices at once is not emulated"},
      {"tcgen05", "tensor memory is not emulated"},
      {"tex", "textures are not emulated"},
      {"tld4", "textures are not emulated"},
      {"txq", "textures are not emulated"},
      {"istypep", "textures are not emulated"},
      {"suld", "surfaces are not emulated"},
      {"sust", "surfaces are not emulated"},
      {"sured", "surfaces are not emulated"},
      {"suq", "surfaces are not emulated"},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (same(op, n, table[i].opcode))
      return table[i].why;
  return NULL;
}

static void
explain(const char *op, int opcode, const Mods *m, int best, char *why, size_t n_why)
{
  const char *reason = opcode_left_out(op, opcode);
  if (reason)
    snprintf(why, n_why, "%.*s: %s", opcode, op, reason);
  else if (best < 0)
    snprintf(why, n_why, "the instruction %.*s is not known", opcode, op);
  else if (best < m->n)
    snprintf(why, n_why, "%.*s has no form with .%s in this place", opcode, op,
             mod_name(m->in_order[best]));
  else
    snprintf(why, n_why, "%.*s needs more modifiers", opcode, op);
}

static bool
is_opcode(const Form *f, const char *op, int n)
{
  return same(op, n, f->mnemonic) ||
         (!strncmp(f->mnemonic, op, (size_t)n) && f->mnemonic[n] == ' ');
}

const Form *
form_find(const char *op, int n, Mods *m, char *why, size_t n_why)
{
  const char *dot = memchr(op, '.', (size_t)n);
  int opcode = dot ? (int)(dot - op) : n, best = -1;
  memset(m, 0, sizeof *m);
  bool read = false;
  for (const Form *f = forms; f < forms + n_forms; f++) {
    if (!is_opcode(f, op, opcode))
      continue;
    if (!read && !read_mods(op, n, opcode, m, why, n_why))
      return NULL;
    read = true;
    int got = matched(f, m);
    if (got == m->n + 1)
      return f;
    best = got > best ? got : best;
  }
  bool free_order = best >= 0 && !in_fixed_order(op, opcode);
  for (const Form *f = forms; free_order && f < forms + n_forms; f++)
    if (is_opcode(f, op, opcode) && matched_anyhow(f, m))
      return f;
  explain(op, opcode, m, best, why, n_why);
  return NULL;
}
