"""Unbound of Debian's package: the resolver of a host of the laboratory."""
import shutil

from .process import wait_until

PROGRAM = shutil.which("unbound") or shutil.which("unbound", path="/usr/sbin")


def resolver(world, namespace, addresses, delegations):
    """127.0.0.1:53 of `namespace`. `addresses` is {name: address}, `delegations` {zone: address of its server}."""
    configuration = world.directory / "unbound.conf"
    data = "\n".join(f'  local-data: "{name}. A {address}"' for name, address in addresses.items())
    stubs = "\n".join(f'stub-zone:\n  name: "{zone}"\n  stub-addr: {address}' for zone, address in delegations.items())
    configuration.write_text(f"""server:
  interface: 127.0.0.1
  username: ""
  chroot: ""
  pidfile: "{world.directory}/unbound.pid"
  use-syslog: no
  logfile: ""
  do-not-query-localhost: no
  module-config: "iterator"
  domain-insecure: "test"
  local-zone: "test." transparent
  cache-max-negative-ttl: 0
{data}
remote-control:
  control-enable: no
{stubs}
""")
    unbound = world.start("unbound", [PROGRAM, "-d", "-c", configuration], namespace)
    unbound.expected_end = True
    wait_until(lambda: namespace.run("dig", "+short", "+time=1", "+tries=1", "@127.0.0.1", next(iter(addresses)), check=False).stdout.strip(),
               "unbound answers")
    return unbound
