/* A spec's life: loaded from text, asked for its texts, released. */
#include "compiler/spec/spec_load.h"

#include "base/err.h"

#include <stdatomic.h>
#include <string.h>

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
  l->spec->text = l->text;
  l->spec->text_n = l->n;
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
spec_json_hash(const Spec *s)
{
  return s->json_hash;
}

const char *
attnc_spec_why(const attnc_spec *s)
{
  return s ? s->why : NULL;
}

const char *
attnc_spec_signature(const attnc_spec *s, int op)
{
  return s && op >= 0 && op < ATTNC_OP_COUNT ? s->call_json[op] : NULL;
}
