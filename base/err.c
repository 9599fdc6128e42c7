#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct StatusInfo {
  const char *name;
  int exit_code;
  const char *text;
} StatusInfo;

static const StatusInfo statuses[] = {
#define X(name, code, text) {"ATTNC_" #name, code, text},
    ATTNC_STATUS_TABLE(X)
#undef X
};

static const StatusInfo *
info(attnc_status status)
{
  size_t i = (size_t)status;
  return i < sizeof statuses / sizeof *statuses ? &statuses[i] : NULL;
}

const char *
attnc_status_name(attnc_status status)
{
  return info(status) ? info(status)->name : "ATTNC_UNKNOWN_STATUS";
}

const char *
attnc_status_string(attnc_status status)
{
  return info(status) ? info(status)->text : "not a status of this version";
}

int
err_exit_code(attnc_status status)
{
  return info(status) ? info(status)->exit_code : info(ATTNC_ERR_INTERNAL)->exit_code;
}

int
attnc_version(void)
{
  return ATTNC_VERSION_MAJOR * 10000 + ATTNC_VERSION_MINOR * 100 + ATTNC_VERSION_PATCH;
}

static void
fill(attnc_error *e, attnc_status status, int driver_code, const char *fmt, va_list args)
{
  if (!e)
    return;
  e->status = status;
  e->driver_code = driver_code;
  vsnprintf(e->message, sizeof e->message, fmt, args);
}

attnc_status
err_set(attnc_error *e, attnc_status status, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  fill(e, status, 0, fmt, args);
  va_end(args);
  return status;
}

attnc_status
err_driver(attnc_error *e, attnc_status status, int driver_code, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  fill(e, status, driver_code, fmt, args);
  va_end(args);
  return status;
}

void
err_clear(attnc_error *e)
{
  if (e)
    memset(e, 0, sizeof *e);
}
