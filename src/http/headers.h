#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::http {

// The fields of a message, in their order. Names are compared without regard to case (RFC 9110, 5.1).
class Headers {
 public:
  Headers() = default;
  Headers(const Headers&) = default;
  Headers(Headers&&) noexcept = default;
  Headers& operator=(const Headers&) = default;
  Headers& operator=(Headers&&) noexcept = default;
  ~Headers();  // wipes them: one may be an Authorization

  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  // The first field of that name; nullptr if there is none.
  const std::string* find(std::string_view name) const;
  size_t count(std::string_view name) const;
  // Whether `token`, in lower case, is an element of one of the fields `name`, which are comma-separated
  // lists (RFC 9110, 5.6.1). Elements are compared without regard to case.
  bool lists(std::string_view name, std::string_view token) const;
  size_t size() const { return fields_.size(); }
  bool empty() const { return fields_.empty(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

}  // namespace culvert::http
