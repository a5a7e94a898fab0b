#pragma once
#include <libpq-fe.h>

#include "base/result.h"

namespace culvert::hub {

// The functions of PostgreSQL's client library that we use. It is loaded when a database URL is opened, since
// it brings Kerberos, LDAP and GnuTLS with it: 3.4 MB that no agent and no node with SQLite should have to
// hold.
struct Libpq {
  decltype(&PQconninfoParse) conninfo_parse;
  decltype(&PQconninfoFree) conninfo_free;
  decltype(&PQfreemem) freemem;
  decltype(&PQconnectdbParams) connectdb_params;
  decltype(&PQfinish) finish;
  decltype(&PQstatus) status;
  decltype(&PQerrorMessage) error_message;
  decltype(&PQparameterStatus) parameter_status;
  decltype(&PQsocket) socket;
  decltype(&PQsetnonblocking) setnonblocking;
  decltype(&PQsetNoticeProcessor) set_notice_processor;
  decltype(&PQsendQueryParams) send_query_params;
  decltype(&PQflush) flush;
  decltype(&PQconsumeInput) consume_input;
  decltype(&PQisBusy) is_busy;
  decltype(&PQgetResult) get_result;
  decltype(&PQnotifies) notifies;
  decltype(&PQclear) clear;
  decltype(&PQresultStatus) result_status;
  decltype(&PQresultErrorField) result_error_field;
  decltype(&PQntuples) ntuples;
  decltype(&PQgetvalue) getvalue;
  decltype(&PQgetlength) getlength;
  decltype(&PQgetisnull) getisnull;

  // kNotFound: the library is missing; the message names the package. The pointer is valid until the process
  // ends.
  static Result<const Libpq*> load();
};

}  // namespace culvert::hub
