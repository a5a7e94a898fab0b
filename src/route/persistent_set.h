#pragma once
#include <cstddef>
#include <memory>
#include <utility>

#include "base/check.h"

namespace culvert::route {

// An ordered set that never changes: insert() and erase() return another, which shares with this one all but
// the O(log n) nodes on the way to the element. Copying one costs a reference count; any thread may read it.
// The nodes on that way are copied with their elements, so T should be small. `Less` is transparent and may
// know keys that many elements are equal to.
//
// A weight-balanced tree: neither subtree of a node weighs more than kDelta times the other, which bounds the
// depth for any choice of elements. The parameters are those that Hirai and Yamamoto proved right
// ("Balancing weight-balanced trees", 2011).
template <class T, class Less>
class PersistentSet {
 public:
  size_t size() const { return size_of(root_); }

  // The first element that is equal to `key`; nullptr: none is. Valid as long as a set with it is.
  template <class Key>
  const T* find(const Key& key) const {
    const T* found = nullptr;
    for (const Node* node = root_.get(); node != nullptr;) {
      const bool is_before = Less()(node->element, key);
      if (!is_before && !Less()(key, node->element)) found = &node->element;
      node = is_before ? node->right.get() : node->left.get();
    }
    return found;
  }

  // In place of an equal element, if there is one.
  PersistentSet insert(T element) const { return PersistentSet(inserted(root_, std::move(element))); }
  // The same set when no element is equal.
  PersistentSet erase(const T& element) const {
    return find(element) == nullptr ? *this : PersistentSet(erased(root_, element));
  }

  // All elements in order.
  template <class Visit>
  void for_each(Visit visit) const {
    walk(root_.get(), visit);
  }
  // Those that are equal to `key`, in order.
  template <class Key, class Visit>
  void for_each_equal(const Key& key, Visit visit) const {
    walk_equal(root_.get(), key, visit);
  }

  PersistentSet() = default;

 private:
  struct Node;
  using NodePtr = std::shared_ptr<const Node>;
  struct Node {
    T element;
    NodePtr left;
    NodePtr right;
    size_t size;
  };
  static constexpr size_t kDelta = 3;
  static constexpr size_t kRatio = 2;

  explicit PersistentSet(NodePtr root) : root_(std::move(root)) {}

  static size_t size_of(const NodePtr& node) { return node ? node->size : 0; }
  static size_t weight(const NodePtr& node) { return size_of(node) + 1; }

  static NodePtr make(T element, NodePtr left, NodePtr right) {
    const size_t size = size_of(left) + size_of(right) + 1;
    return std::make_shared<const Node>(Node{std::move(element), std::move(left), std::move(right), size});
  }

  // A node of two trees, of which one gained or lost one element since they were balanced.
  static NodePtr balanced(const T& element, const NodePtr& left, const NodePtr& right) {
    if (weight(right) > kDelta * weight(left)) {
      if (weight(right->left) < kRatio * weight(right->right))
        return make(right->element, make(element, left, right->left), right->right);
      const NodePtr& middle = right->left;
      return make(middle->element, make(element, left, middle->left),
                  make(right->element, middle->right, right->right));
    }
    if (weight(left) > kDelta * weight(right)) {
      if (weight(left->right) < kRatio * weight(left->left))
        return make(left->element, left->left, make(element, left->right, right));
      const NodePtr& middle = left->right;
      return make(middle->element, make(left->element, left->left, middle->left),
                  make(element, middle->right, right));
    }
    return make(element, left, right);
  }

  static NodePtr inserted(const NodePtr& node, T element) {
    if (!node) return make(std::move(element), nullptr, nullptr);
    if (Less()(element, node->element))
      return balanced(node->element, inserted(node->left, std::move(element)), node->right);
    if (Less()(node->element, element))
      return balanced(node->element, node->left, inserted(node->right, std::move(element)));
    return make(std::move(element), node->left, node->right);
  }

  static NodePtr erased(const NodePtr& node, const T& element) {
    CHECK(node != nullptr);
    if (Less()(element, node->element))
      return balanced(node->element, erased(node->left, element), node->right);
    if (Less()(node->element, element))
      return balanced(node->element, node->left, erased(node->right, element));
    if (!node->left) return node->right;
    if (!node->right) return node->left;
    if (node->left->size > node->right->size) {
      const T& last = outermost(node->left, &Node::right);
      return balanced(last, erased(node->left, last), node->right);
    }
    const T& first = outermost(node->right, &Node::left);
    return balanced(first, node->left, erased(node->right, first));
  }

  static const T& outermost(const NodePtr& tree, NodePtr Node::* side) {
    const Node* node = tree.get();
    while (node->*side) node = (node->*side).get();
    return node->element;
  }

  template <class Visit>
  static void walk(const Node* node, Visit& visit) {
    if (node == nullptr) return;
    walk(node->left.get(), visit);
    visit(node->element);
    walk(node->right.get(), visit);
  }

  template <class Key, class Visit>
  static void walk_equal(const Node* node, const Key& key, Visit& visit) {
    if (node == nullptr) return;
    const bool is_before = Less()(node->element, key);
    const bool is_after = Less()(key, node->element);
    if (!is_before) walk_equal(node->left.get(), key, visit);
    if (!is_before && !is_after) visit(node->element);
    if (!is_after) walk_equal(node->right.get(), key, visit);
  }

  NodePtr root_;
};

}  // namespace culvert::route
