#include "compiler/spec/spec_load.h"

#include "base/err.h"

#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* ---- tables ---- */

const SpecErrorInfo spec_errors[SE_COUNT] = {
#define SPEC_ERROR(id, code, meaning, help) [SE_##id] = {code, meaning, help},
#include "compiler/spec/spec_errors.def"
#undef SPEC_ERROR
};

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

/* ---- faults ---- */

void
spec_fault(SpecLoad *l, Place at, SpecError e, const char *help, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  const char *message = arena_vprintf(l->arena, fmt, args);
  va_end(args);
  l->errors++;
  diags_error(l->diags, at, spec_errors[e].code, help ? help : spec_errors[e].help, "%s",
              message);
}

void
spec_warn(SpecLoad *l, Place at, SpecError e, const char *help, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  const char *message = arena_vprintf(l->arena, fmt, args);
  va_end(args);
  diags_warning(l->diags, at, spec_errors[e].code, help ? help : spec_errors[e].help, "%s",
                message);
}

const char *
spec_shown(SpecLoad *l, const char *text)
{
  enum { MOST = 40 };
  size_t n = strlen(text), cut = n;
  if (n > MOST)
    for (cut = MOST; cut && ((unsigned char)text[cut] & 0xc0) == 0x80; cut--)
      ;
  char *shown = arena_printf(l->arena, "%.*s%s", (int)cut, text, cut < n ? "…" : "");
  for (char *p = shown; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      *p = ' ';
  return shown;
}

/* ---- lifetime ---- */

static const char byte_order_mark[] = "\xef\xbb\xbf";

static void
load(SpecLoad *l, const char *text, size_t n, const char *name)
{
  if (n >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
    text += 3;
    n -= 3;
  }
  /* One byte over the limit is enough to be refused. */
  l->n = n;
  l->text = arena_strndup(l->arena, text, n > SPEC_MAX_BYTES ? 0 : n);
  diags_source(l->diags, name, l->text, n > SPEC_MAX_BYTES ? 0 : n);
  l->spec = NEW(l->arena, Spec);
  l->spec->arena = l->arena;
  l->spec->refs = 1;
  l->spec->file = arena_strdup(l->arena, name);
  const DocNode *root = spec_yaml_read(l);
  if (root)
    spec_check_document(l, root);
  if (!l->errors)
    spec_print(l->spec);
}

/* false: out of memory.  Nothing of its own changes between setjmp and the jump. */
static bool
load_caught(SpecLoad *l, const char *text, size_t n, const char *name)
{
  if (setjmp(l->no_memory))
    return false;
  arena_catch(l->arena, &l->no_memory);
  load(l, text, n, name);
  return true;
}

attnc_status
spec_load_limited(const char *text, size_t n, const char *name, size_t limit,
                  attnc_spec **out, attnc_diags *diags)
{
  if (!out)
    return ATTNC_ERR_USAGE;
  *out = NULL;
  if (!text && n)
    return ATTNC_ERR_USAGE;
  Arena *arena = arena_new(limit);
  SpecLoad *l = arena ? NEW(arena, SpecLoad) : NULL;
  if (!l) {
    arena_free(arena);
    return ATTNC_ERR_NOMEM;
  }
  l->arena = arena;
  l->diags = diags;
  bool whole = load_caught(l, text ? text : "", n, name ? name : "");
  arena_catch(arena, NULL);
  spec_yaml_close(l);
  attnc_status status = !whole ? ATTNC_ERR_NOMEM : l->errors ? ATTNC_ERR_SPEC : ATTNC_OK;
  if (status == ATTNC_OK)
    *out = l->spec;
  else
    arena_free(arena);
  return status;
}

attnc_status
attnc_spec_load(const char *text, size_t n, const char *name, attnc_spec **out,
                attnc_diags *diags)
{
  return spec_load_limited(text, n, name, 0, out, diags);
}

void
attnc_spec_release(attnc_spec *s)
{
  if (s && __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0)
    arena_free(s->arena);
}

const char *
attnc_spec_name(const attnc_spec *s)
{
  return s ? s->name : NULL;
}

const char *
attnc_spec_canonical(const attnc_spec *s)
{
  return s ? s->canonical : NULL;
}

const char *
attnc_spec_hash(const attnc_spec *s)
{
  return s ? s->hash : NULL;
}

const char *
attnc_spec_json(const attnc_spec *s)
{
  return s ? s->json : NULL;
}

const char *
attnc_spec_signature(const attnc_spec *s, int op)
{
  return s && op >= 0 && op < ATTNC_OP_COUNT ? s->call_json[op] : NULL;
}

/* ---- what a spec means ---- */

double
spec_scale(const Spec *s)
{
  return isnan(s->softmax_scale) ? 1 / sqrt(s->head_dim) : s->softmax_scale;
}

bool
spec_specializes(const Spec *s, Specialize what)
{
  return s->specialize >> what & 1u;
}

static bool
pin_fits(const char *pinned, const char *asked)
{
  return !pinned || !asked || str_eq(pinned, asked);
}

const Pin *
spec_pin(const Spec *s, const char *target, const char *template_name)
{
  for (int i = 0; i < s->n_pins; i++)
    if (pin_fits(s->pins[i].arch, target) &&
        pin_fits(s->pins[i].template_name, template_name))
      return &s->pins[i];
  return NULL;
}

Band
spec_band(const Spec *s)
{
  int left = s->window[0], right = s->window[1];
  Band b = {.lo = left < 0 || left >= SIZE_LIMIT ? INT_MIN : -left,
            .hi = right < 0 || right >= SIZE_LIMIT ? INT_MAX : right,
            .bottom_right = s->align == ALIGN_BOTTOM_RIGHT};
  if (s->causal && b.hi > 0)
    b.hi = 0;
  return b;
}
