class KohakuriverProxy < Formula
  desc "SSH into a KohakuRiver VPS through the Host's SSH proxy"
  homepage "https://github.com/KohakuBlueleaf/KohakuRiver"
  version "@VERSION@"
  license "MIT"

  on_macos do
    depends_on macos: :ventura

    on_arm do
      url "@URL@/kohakuriver-proxy-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:aarch64-apple-darwin.tar.gz@"
    end
    on_intel do
      url "@URL@/kohakuriver-proxy-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:x86_64-apple-darwin.tar.gz@"
    end
  end

  on_linux do
    on_arm do
      url "@URL@/kohakuriver-proxy-@VERSION@-aarch64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:aarch64-unknown-linux-musl.tar.gz@"
    end
    on_intel do
      url "@URL@/kohakuriver-proxy-@VERSION@-x86_64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:x86_64-unknown-linux-musl.tar.gz@"
    end
  end

  def install
    bin.install Dir["bin/*"]
    man1.install Dir["share/man/man1/*"]
    man8.install Dir["share/man/man8/*"]
    bash_completion.install Dir["share/bash-completion/completions/*"]
    zsh_completion.install Dir["share/zsh/site-functions/*"]
    fish_completion.install Dir["share/fish/vendor_completions.d/*"]
    doc.install Dir["share/doc/kohakuriver-proxy/*"]
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/kohakuriver --version")
    assert_match version.to_s, shell_output("#{bin}/kohakuriver-proxy --version")
  end
end
