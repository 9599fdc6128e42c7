#include "runtime/key.h"

#include "base/err.h"
#include "base/hash.h"
#include "schedule/schedule_json.h"

#include <string.h>

static const char *
or_empty(const char *s)
{
  return s ? s : "";
}

void
key_hash(const KeyFields *k, unsigned char key[32])
{
  Sha256 s;
  sha256_start(&s);
#define X(field, text)                                                                     \
  sha256_field(&s, #field, or_empty(k->field), strlen(or_empty(k->field)));
  KEY_TABLE(X)
#undef X
  sha256_end(&s, key);
}

attnc_status
key_json(const KeyFields *k, const Schedule *schedule, const char *source, json_t *lengths,
         char **out, attnc_error *e)
{
  unsigned char key[32];
  char hex[65];
  json_t *root = json_object(), *fields = json_object(), *how = json_object();
  key_hash(k, key);
  sha256_digest_hex(key, hex);
  json_object_set_new(root, "key", json_string(hex));
  json_object_set_new(root, "source", json_string(source));
  sched_write_json(how, schedule);
  json_object_set_new(root, "schedule", how);
  json_object_set_new(root, "lengths", lengths);
#define X(field, text) json_object_set_new(fields, #field, json_string(or_empty(k->field)));
  KEY_TABLE(X)
#undef X
  json_object_set_new(root, "fields", fields);
  *out = json_dumps(root, JSON_INDENT(2));
  json_decref(root);
  return *out ? ATTNC_OK : err_set(e, ATTNC_ERR_NOMEM, "key: out of memory");
}
