#include "base/env.h"

#include <stdlib.h>

const EnvInfo env_table[ENV_COUNT] = {
#define X(id, name, def, text) {name, def, text},
    ENV_TABLE(X)
#undef X
};

const char *
env_get(EnvVar var)
{
  const char *value = secure_getenv(env_table[var].name);
  return value && *value ? value : NULL;
}
