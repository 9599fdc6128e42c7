/* YAML text → node tree, by libyaml's events.  What libyaml would accept and a spec does
 * not have (anchors, tags, merge keys, several documents …) is refused here. */
#include "compiler/spec/spec_load.h"

#include <string.h>
#include <yaml.h>

typedef struct YamlReader {
  SpecLoad *load;
  yaml_parser_t parser;
  yaml_event_t event; /* the current one */
  bool open;
  int nodes;
} YamlReader;

/* ---- the bytes ---- */

/* The character of the `len` bytes of valid UTF-8 at p. */
static uint32_t
utf8_char(const char *p, int len)
{
  uint32_t c = (unsigned char)p[0];
  c = len == 1 ? c : c & (0xffu >> (len + 1));
  for (int i = 1; i < len; i++)
    c = c << 6 | ((unsigned char)p[i] & 0x3fu);
  return c;
}

/* YAML 1.1 §5.1 without the line breaks that 1.2 no longer has (NEL, LS, PS): places are
 * counted by LF. */
static bool
char_allowed(uint32_t c, char next)
{
  if (c == '\r')
    return next == '\n';
  if (c < 0x20)
    return c == '\t' || c == '\n';
  if (c >= 0x7f && c < 0xa0)
    return false;
  return c != 0x2028 && c != 0x2029 && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

/* Every byte is checked before libyaml sees any, so that the place is exact. */
static bool
bytes_valid(SpecLoad *l)
{
  Place at = {1, 1, 1};
  for (size_t i = 0; i < l->n;) {
    const char *p = l->text + i;
    int len = str_utf8(p);
    if (!len) {
      spec_fault(l, at, SE_NOT_UTF8, NULL, "byte 0x%02x is not UTF-8", (unsigned char)*p);
      return false;
    }
    uint32_t c = utf8_char(p, len);
    if (!char_allowed(c, p[len])) {
      spec_fault(l, at, SE_CONTROL, NULL, "the character U+%04X is not allowed", c);
      return false;
    }
    i += (size_t)len;
    at.col++;
    if (c == '\n')
      at = (Place){at.line + 1, 1, 1};
  }
  return true;
}

/* ---- events ---- */

static Place
place_of(yaml_mark_t from, yaml_mark_t to)
{
  bool flat = from.line == to.line && to.column > from.column;
  return (Place){(int)from.line + 1, (int)from.column + 1,
                 flat ? (int)(to.column - from.column) : 1};
}

static Place
event_place(const YamlReader *r)
{
  Place p = place_of(r->event.start_mark, r->event.end_mark);
  yaml_event_type_t type = r->event.type;
  if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
    p.width = 1;
  return p;
}

/* Where line `line`, from 0, starts; NULL past the last. */
static const char *
line_at(const SpecLoad *l, size_t line)
{
  const char *p = l->text, *end = l->text + l->n;
  for (; p && line > 0; line--) {
    p = memchr(p, '\n', (size_t)(end - p));
    p = p ? p + 1 : NULL;
  }
  return p;
}

/* libyaml puts the end of a text that lacks its last LF on the line after it. */
static Place
problem_place(const SpecLoad *l, yaml_mark_t at)
{
  if (line_at(l, at.line))
    return place_of(at, at);
  Place end = {(int)at.line, 1, 1};
  for (const char *p = line_at(l, at.line - 1); *p; p++)
    end.col += ((unsigned char)*p & 0xc0) != 0x80;
  return end;
}

static const char *
syntax_help(const SpecLoad *l, const yaml_parser_t *p)
{
  const char *line = line_at(l, p->problem_mark.line);
  size_t column = p->problem_mark.column;
  if (line && column < strcspn(line, "\n") && line[column] == '\t')
    return "YAML does not indent with tabs: use spaces";
  if (p->problem && strstr(p->problem, "mapping values are not allowed"))
    return "put text that has `: ` in it in quotes";
  return NULL;
}

static void
syntax_fault(YamlReader *r)
{
  const yaml_parser_t *p = &r->parser;
  if (p->error == YAML_MEMORY_ERROR)
    longjmp(r->load->no_memory, 1);
  const char *problem = p->problem ? p->problem : "unreadable";
  const char *help = syntax_help(r->load, p);
  Place at = problem_place(r->load, p->problem_mark);
  if (p->context)
    spec_fault(r->load, at, SE_SYNTAX, help, "not YAML: %s (%s, line %d)", problem,
               p->context, (int)p->context_mark.line + 1);
  else
    spec_fault(r->load, at, SE_SYNTAX, help, "not YAML: %s", problem);
}

static bool
advance(YamlReader *r)
{
  yaml_event_delete(&r->event);
  if (yaml_parser_parse(&r->parser, &r->event))
    return true;
  memset(&r->event, 0, sizeof r->event);
  syntax_fault(r);
  return false;
}

/* ---- nodes ---- */

static DocNode *read_node(YamlReader *, int depth);

static void
refuse_properties(YamlReader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
  Place at = event_place(r);
  SpecLoad *l = r->load;
  if (anchor)
    spec_fault(l, at, SE_ANCHOR, NULL, "anchor `&%s`", spec_shown(l, (const char *)anchor));
  if (tag)
    spec_fault(l, at, SE_TAG, NULL, "tag `%s`", spec_shown(l, (const char *)tag));
}

static void
read_scalar(YamlReader *r, DocNode *node)
{
  SpecLoad *l = r->load;
  const char *value = (const char *)r->event.data.scalar.value;
  size_t n = r->event.data.scalar.length;
  refuse_properties(r, r->event.data.scalar.anchor, r->event.data.scalar.tag);
  node->kind = DOC_SCALAR;
  node->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
  node->text = arena_strndup(l->arena, value, n);
  if (memchr(value, 0, n)) {
    spec_fault(l, node->place, SE_CONTROL, "remove the `\\0`", "a value with a 0 inside");
    node->kind = DOC_BAD;
  }
}

static bool
read_list(YamlReader *r, DocNode *list, int depth)
{
  DocNode **end = &list->first;
  refuse_properties(r, r->event.data.sequence_start.anchor,
                    r->event.data.sequence_start.tag);
  list->kind = DOC_LIST;
  for (;;) {
    if (!advance(r))
      return false;
    if (r->event.type == YAML_SEQUENCE_END_EVENT)
      return true;
    if (!(*end = read_node(r, depth)))
      return false;
    end = &(*end)->next;
    list->n++;
  }
}

static const DocNode *
find_key(const DocNode *map, const char *key)
{
  for (const DocNode *n = map->first; n; n = n->next)
    if (str_eq(n->key, key))
      return n;
  return NULL;
}

/* Whether the value of `key` is to be kept. */
static bool
key_fits(SpecLoad *l, const DocNode *map, const DocNode *key)
{
  if (key->kind == DOC_BAD)
    return false;
  if (key->kind != DOC_SCALAR) {
    spec_fault(l, key->place, SE_KEY, NULL, "a %s cannot be a key",
               key->kind == DOC_MAP ? "map" : "list");
    return false;
  }
  if (!key->quoted && str_eq(key->text, "<<")) {
    spec_fault(l, key->place, SE_MERGE, NULL, "merge key `<<`");
    return false;
  }
  const DocNode *before = find_key(map, key->text);
  if (before)
    spec_fault(l, key->place, SE_DUPLICATE, NULL, "`%s` was given before, on line %d",
               spec_shown(l, key->text), before->key_place.line);
  return !before;
}

static bool
read_map(YamlReader *r, DocNode *map, int depth)
{
  DocNode **end = &map->first;
  refuse_properties(r, r->event.data.mapping_start.anchor, r->event.data.mapping_start.tag);
  map->kind = DOC_MAP;
  for (;;) {
    if (!advance(r))
      return false;
    if (r->event.type == YAML_MAPPING_END_EVENT)
      return true;
    const DocNode *key = read_node(r, depth);
    if (!key || !advance(r))
      return false;
    DocNode *value = read_node(r, depth);
    if (!value)
      return false;
    if (!key_fits(r->load, map, key))
      continue;
    value->key = key->text;
    value->key_place = key->place;
    *end = value;
    end = &value->next;
    map->n++;
  }
}

/* The node that starts at the current event; NULL: reading has ended. */
static DocNode *
read_node(YamlReader *r, int depth)
{
  SpecLoad *l = r->load;
  DocNode *node = NEW(l->arena, DocNode);
  node->place = event_place(r);
  if (++r->nodes > SPEC_MAX_NODES) {
    spec_fault(l, node->place, SE_TOO_LARGE, NULL, "more than %d values", SPEC_MAX_NODES);
    return NULL;
  }
  bool nested = r->event.type != YAML_SCALAR_EVENT && r->event.type != YAML_ALIAS_EVENT;
  if (nested && depth == SPEC_MAX_DEPTH) {
    spec_fault(l, node->place, SE_TOO_DEEP, NULL, "nested deeper than %d", SPEC_MAX_DEPTH);
    return NULL;
  }
  switch (r->event.type) {
  case YAML_ALIAS_EVENT:
    spec_fault(l, node->place, SE_REFERENCE, NULL, "alias `*%s`",
               spec_shown(l, (const char *)r->event.data.alias.anchor));
    return node;
  case YAML_SEQUENCE_START_EVENT:
    return read_list(r, node, depth + 1) ? node : NULL;
  case YAML_MAPPING_START_EVENT:
    return read_map(r, node, depth + 1) ? node : NULL;
  default:
    read_scalar(r, node);
    return node;
  }
}

/* ---- the document ---- */

static void
refuse_directives(YamlReader *r)
{
  bool version = r->event.data.document_start.version_directive != NULL;
  bool tags = r->event.data.document_start.tag_directives.start !=
              r->event.data.document_start.tag_directives.end;
  if (version || tags)
    spec_fault(r->load, event_place(r), SE_DIRECTIVE, NULL, "directive `%s`",
               version ? "%YAML" : "%TAG");
}

static const DocNode *
read_document(YamlReader *r)
{
  SpecLoad *l = r->load;
  if (!advance(r) || !advance(r)) /* start of the stream, then of the document */
    return NULL;
  if (r->event.type == YAML_STREAM_END_EVENT) {
    spec_fault(l, (Place){0, 0, 1}, SE_EMPTY, NULL, "the document is empty");
    return NULL;
  }
  refuse_directives(r);
  if (!advance(r))
    return NULL;
  const DocNode *root = read_node(r, 0);
  if (!root || !advance(r) || !advance(r)) /* its end, then that of the stream */
    return NULL;
  if (r->event.type != YAML_STREAM_END_EVENT)
    spec_fault(l, event_place(r), SE_SEVERAL, NULL, "a second document starts here");
  return root;
}

const DocNode *
spec_yaml_read(SpecLoad *l)
{
  if (l->n > SPEC_MAX_BYTES) {
    spec_fault(l, (Place){0, 0, 1}, SE_TOO_LARGE, NULL,
               "the document has %zu bytes, a spec at most %d", l->n, SPEC_MAX_BYTES);
    return NULL;
  }
  if (!bytes_valid(l))
    return NULL;
  YamlReader *r = NEW(l->arena, YamlReader);
  r->load = l;
  if (!yaml_parser_initialize(&r->parser))
    longjmp(l->no_memory, 1);
  r->open = true;
  l->reader = r;
  yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&r->parser, (const unsigned char *)l->text, l->n);
  return read_document(r);
}

void
spec_yaml_close(SpecLoad *l)
{
  YamlReader *r = l->reader;
  if (!r || !r->open)
    return;
  yaml_event_delete(&r->event);
  yaml_parser_delete(&r->parser);
  r->open = false;
}
