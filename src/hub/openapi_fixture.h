#pragma once
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <optional>
#include <string>

#include "http/message.h"
#include "hub/openapi.h"

// For tests: the served description as a judge of what the API does.
namespace culvert::hub::testing {

class ApiDescription {
 public:
  const boost::json::object& paths() const { return document_.at("paths").as_object(); }

  // The path of the description that `path` falls under, "/v1/invites/{id}"; nullptr: there is none.
  const boost::json::object* find_path(std::string_view path) const {
    if (const auto* same = paths().if_contains(path)) return &same->as_object();
    for (const auto& [pattern, item] : paths()) {
      constexpr std::string_view kRest = "{id}";
      const std::string_view text = pattern;
      if (text.ends_with(kRest) && path.starts_with(text.substr(0, text.size() - kRest.size())))
        return &item.as_object();
    }
    return nullptr;
  }

  // Fails the test when the answer is none that is described. Paths and methods that the hub does not have
  // are not described.
  void check(const http::Request& request, const http::Response& response) const {
    const std::string_view path = std::string_view(request.target).substr(0, request.target.find('?'));
    const boost::json::object* described = find_path(path);
    std::string method = request.method;
    for (char& c : method) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const auto* operation =
        described == nullptr || method == request.method ? nullptr : described->if_contains(method);
    if (operation == nullptr) {
      EXPECT_TRUE(response.status == 404 || response.status == 405) << request.method << ' ' << path;
      return;
    }
    const auto* answer = operation->at("responses").as_object().if_contains(std::to_string(response.status));
    ASSERT_NE(answer, nullptr) << request.method << ' ' << path << " answers " << response.status
                               << ", which is not described: " << response.body;
    boost::system::error_code ec;
    const boost::json::value body = boost::json::parse(response.body, ec);
    ASSERT_FALSE(ec) << response.body;
    const auto& schema = answer->at("content").at("application/json").at("schema");
    EXPECT_EQ(fault(schema, body, "the answer"), "") << request.method << ' ' << path << ' ' << response.body;
  }

 private:
  // What is wrong with `value`, empty if nothing is. What the description uses of JSON Schema, and no more.
  std::string fault(const boost::json::value& described, const boost::json::value& value,
                    const std::string& where) const {
    const boost::json::object& schema = resolve(described);
    if (const auto* type = schema.if_contains("type"); type != nullptr && !has_type(*type, value))
      return where + " has the wrong type";
    if (const auto* choices = schema.if_contains("enum")) {
      if (std::ranges::find(choices->as_array(), value) == choices->as_array().end())
        return where + " is none of the known values";
    }
    if (const auto* items = schema.if_contains("items"); items != nullptr && value.is_array()) {
      for (const auto& item : value.as_array()) {
        if (auto found = fault(*items, item, where + "[]"); !found.empty()) return found;
      }
    }
    const auto* properties = schema.if_contains("properties");
    if (properties == nullptr || !value.is_object()) return "";
    for (const auto& name : schema.at("required").as_array()) {
      if (!value.as_object().contains(name.as_string()))
        return where + " lacks " + std::string(name.as_string());
    }
    for (const auto& [name, member] : value.as_object()) {
      const auto* known = properties->as_object().if_contains(name);
      if (known == nullptr) return where + " has " + std::string(name) + ", which is not described";
      if (auto found = fault(*known, member, where + "." + std::string(name)); !found.empty()) return found;
    }
    return "";
  }
  const boost::json::object& resolve(const boost::json::value& schema) const {
    const auto* reference = schema.as_object().if_contains("$ref");
    if (reference == nullptr) return schema.as_object();
    const std::string_view name(reference->as_string());
    return document_.at("components").at("schemas").at(name.substr(name.rfind('/') + 1)).as_object();
  }
  static bool has_type(const boost::json::value& type, const boost::json::value& value) {
    if (type.is_array()) {
      return std::ranges::any_of(type.as_array(), [&](const auto& each) { return has_type(each, value); });
    }
    const std::string_view name(type.as_string());
    return (name == "string" && value.is_string()) || (name == "boolean" && value.is_bool()) ||
           (name == "integer" && (value.is_int64() || value.is_uint64())) ||
           (name == "array" && value.is_array()) || (name == "object" && value.is_object()) ||
           (name == "null" && value.is_null());
  }

  const boost::json::value document_ = boost::json::parse(openapi_json());
};

}  // namespace culvert::hub::testing
