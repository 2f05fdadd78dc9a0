// For net's tests: authorities, certificates and keys in a folder of their own. Not part of the library.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <string>

#include "base/test_folder.h"

namespace rusm::net {

struct CertificateSpec {
  std::string common_name = "localhost";
  std::string names = "DNS:localhost,IP:127.0.0.1";  // subjectAltName; empty: none
  long valid_from_s = -3600;                         // NOLINT(google-runtime-int): OpenSSL's type
  long valid_until_s = 3600;                         // NOLINT(google-runtime-int)
};

// One authority, which signs in `folder`: NAME.pem and NAME.key.
class TestAuthority {
 public:
  explicit TestAuthority(const TestFolder& folder, const std::string& name = "ca")
      : folder_(folder), key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    fill(certificate_, key_, {.common_name = "Test " + name, .names = ""});
    X509_set_issuer_name(certificate_, X509_get_subject_name(certificate_));
    extend(certificate_, NID_basic_constraints, "critical,CA:TRUE");
    X509_sign(certificate_, key_, EVP_sha256());
    write(certificate_, key_, name);
  }
  ~TestAuthority() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  void issue(const std::string& name, const CertificateSpec& spec = {}) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    fill(certificate, key, spec);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate_));
    if (!spec.names.empty()) extend(certificate, NID_subject_alt_name, spec.names);
    X509_sign(certificate, key_, EVP_sha256());
    write(certificate, key, name);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }

 private:
  void fill(X509* certificate, EVP_PKEY* key, const CertificateSpec& spec) {
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(certificate), spec.valid_from_s);
    X509_gmtime_adj(X509_getm_notAfter(certificate), spec.valid_until_s);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(spec.common_name.c_str()), -1, -1, 0);
  }
  void extend(X509* certificate, int kind, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate_, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  void write(X509* certificate, EVP_PKEY* key, const std::string& name) {
    std::FILE* file = std::fopen((folder_ / (name + ".pem")).c_str(), "w");
    PEM_write_X509(file, certificate);
    std::fclose(file);
    file = std::fopen((folder_ / (name + ".key")).c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
  }

  const TestFolder& folder_;
  EVP_PKEY* const key_;
  X509* const certificate_;
  int serial_ = 0;
};

}  // namespace rusm::net
