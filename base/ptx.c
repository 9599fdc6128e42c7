#include "base/ptx.h"

#include "base/err.h"

#include <stdio.h>

static const struct {
  int version, driver;
} versions[] = {
#define X(version, driver) {version, driver},
    PTX_VERSION_TABLE(X)
#undef X
};
enum { N_VERSIONS = sizeof versions / sizeof *versions };

int
ptx_driver(int version)
{
  for (int i = 0; i < N_VERSIONS; i++)
    if (versions[i].version == version)
      return versions[i].driver;
  return 0;
}

attnc_status
ptx_version_read(const char *text, int lowest, int *version, attnc_error *e)
{
  int major = 0, minor = 0, end = 0, last = versions[N_VERSIONS - 1].version;
  *version = lowest;
  if (!text)
    return ATTNC_OK;
  if (sscanf(text, "%1d.%1d%n", &major, &minor, &end) != 2 || text[end] || major < 1 ||
      minor < 0)
    return err_set(e, ATTNC_ERR_USAGE, "'%.20s' is no PTX version such as 8.0", text);
  *version = 10 * major + minor;
  if (*version < lowest || *version > last)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "PTX %s: this kernel needs at least %d.%d, LLVM 22 writes up to %d.%d",
                   text, lowest / 10, lowest % 10, last / 10, last % 10);
  if (!ptx_driver(*version))
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "there is no PTX %s", text);
  return ATTNC_OK;
}
