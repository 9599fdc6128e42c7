/* Named mods: `{use: NAME, with: {n: 64}}` is the text of specs/mods/mods.def with its
 * parameters replaced, before anything of it is read. */
#include "compiler/spec/spec_load.h"

#include <string.h>

enum { MASK = EXPR_IS_MASK, SCORE = EXPR_IS_SCORE };

const SpecMod spec_mods[] = {
#define MOD(name, kind, parameters, example, text, doc, source)                            \
  {#name, (ExprKind)kind, parameters, example, text, doc, source},
#include "specs/mods/mods.def"
#undef MOD
};
const int n_spec_mods = sizeof spec_mods / sizeof *spec_mods;

enum { NAMES = 64, PARAMETERS = 8 };

static const DocNode *
value_of(const DocNode *map, const char *key)
{
  const DocNode *n = map ? map->first : NULL;
  while (n && !str_eq(n->key, key))
    n = n->next;
  return n;
}

/* That of the kind which `use` names; NULL, reported: there is none. */
static const SpecMod *
mod_of(SpecLoad *l, const DocNode *node, ExprKind kind)
{
  const char *names[NAMES];
  int at[NAMES], n = 0, i = 0;
  const DocNode *use = value_of(node, "use");
  for (int k = 0; k < n_spec_mods && n < NAMES; k++)
    if (spec_mods[k].kind == kind) {
      names[n] = spec_mods[k].name;
      at[n++] = k;
    }
  if (!use)
    spec_fault(l, node->place, SE_INCOMPLETE, "write `{use: NAME, with: {…}}`",
               "an expression that is a map lacks `use`");
  return use && spec_value_word(l, use, names, n, &i) ? &spec_mods[at[i]] : NULL;
}

static bool
is_name(const char *text)
{
  return text[0] >= 'a' && text[0] <= 'z' &&
         strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(text);
}

/* As the text has it; NULL, reported: it is neither a number nor a name. */
static const char *
value_text(SpecLoad *l, const DocNode *node)
{
  Look look = node->kind == DOC_SCALAR ? spec_look(node->text) : LOOK_NULL;
  if ((look == LOOK_INT || look == LOOK_FLOAT) && !node->quoted)
    return arena_printf(l->arena, "(%s)", node->text);
  if (look == LOOK_WORD && is_name(node->text))
    return node->text;
  spec_fault(l, node->place, SE_WORD, "for example `n: 64`, `id: document`",
             "`%s` is a number, or the name of a tensor or scalar",
             spec_shown(l, node->key));
  return NULL;
}

/* Of a mod's parameters: the n-th, and its length; NULL past the last. */
static const char *
parameter(const SpecMod *mod, int n, size_t *len)
{
  const char *p = mod->parameters;
  for (; n > 0 && *p; n--) {
    p += strcspn(p, " ");
    p += strspn(p, " ");
  }
  *len = strcspn(p, " ");
  return *p ? p : NULL;
}

static int
find_parameter(const SpecMod *mod, const char *word, size_t n)
{
  size_t len;
  const char *p;
  for (int i = 0; (p = parameter(mod, i, &len)); i++)
    if (len == n && !strncmp(p, word, n))
      return i;
  return -1;
}

/* false, reported: one is unknown, missing, or no value. */
static bool
take_values(SpecLoad *l, const DocNode *node, const SpecMod *mod,
            const char *values[PARAMETERS])
{
  size_t len;
  const char *p, *help = arena_printf(l->arena, "it has: %s", mod->parameters);
  int before = l->errors;
  const DocNode *with = value_of(node, "with");
  if (with && !spec_value_is(l, with, DOC_MAP, "a map"))
    return false;
  for (const DocNode *n = with ? with->first : NULL; n; n = n->next) {
    int i = find_parameter(mod, n->key, strlen(n->key));
    if (i < 0)
      spec_fault(l, n->key_place, SE_WORD, help, "mod `%s` has no parameter `%s`",
                 mod->name, spec_shown(l, n->key));
    else
      values[i] = value_text(l, n);
  }
  for (int i = 0; l->errors == before && (p = parameter(mod, i, &len)); i++)
    if (!values[i])
      spec_fault(l, node->place, SE_INCOMPLETE, help, "mod `%s` lacks `%.*s` in `with`",
                 mod->name, (int)len, p);
  return l->errors == before;
}

static bool
is_word(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static const char *
with_values(SpecLoad *l, const SpecMod *mod, const char *const values[PARAMETERS])
{
  Str out = str_new(l->arena);
  for (const char *p = mod->text; *p;) {
    size_t n = 0;
    while (is_word(p[n]))
      n++;
    int i = n ? find_parameter(mod, p, n) : -1;
    n += !n;
    if (i >= 0)
      str_put(&out, values[i]);
    else
      str_printf(&out, "%.*s", (int)n, p);
    p += n;
  }
  return out.p;
}

const char *
spec_mod_text(SpecLoad *l, const DocNode *node, ExprKind kind)
{
  const char *values[PARAMETERS] = {NULL};
  int before = l->errors;
  for (const DocNode *n = node->first; n; n = n->next)
    if (!str_eq(n->key, "use") && !str_eq(n->key, "with"))
      spec_fault(l, n->key_place, SE_WORD, "it has `use` and `with`",
                 "a mod has no key `%s`", spec_shown(l, n->key));
  const SpecMod *mod = mod_of(l, node, kind);
  if (!mod || !take_values(l, node, mod, values) || l->errors != before)
    return NULL;
  return with_values(l, mod, values);
}
