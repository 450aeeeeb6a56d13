// A folder that goes away with the test.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <stdlib.h>

namespace doorstep::relay {

class Folder {
 public:
  /// In `below`, or where temporary files are kept.
  explicit Folder(const std::string& below = std::filesystem::temp_directory_path().string()) {
    const std::string pattern = below + "/doorstep-relay-XXXXXX";
    std::vector<char> name(pattern.begin(), pattern.end());
    name.push_back(0);
    if (::mkdtemp(name.data())) path_ = name.data();
  }
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace doorstep::relay
