"""The lab's network: a namespace with a bridge, and one cable from the host into it; no route leads out."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from rehearsal.lab.commands import run
from rehearsal.lab.topology import (
    BRIDGE,
    CREDENTIALS_ADDRESS,
    HOST_ADDRESS,
    HOST_INTERFACE,
    NAMESPACE,
    SERVICES_ADDRESS,
    SUBNET,
)

TRIAL = "dclab-try"  # the namespace and the cable of a preflight; an interface's name has 15 characters at most
BRIDGE_PORT = "host0"  # the namespace's end of the cable


def up() -> None:
    """Makes the namespace, its bridge and the cable; LabError names the step that failed."""
    prefix_length = ipaddress.ip_network(SUBNET).prefixlen
    run(["ip", "netns", "add", NAMESPACE])
    _inside(
        "sh",
        "-c",
        "echo 0 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6",
    )
    batch = f"""
        link set lo up
        link add {BRIDGE} type bridge
        address add {SERVICES_ADDRESS}/{prefix_length} dev {BRIDGE}
        address add {CREDENTIALS_ADDRESS}/32 dev {BRIDGE}
        link set {BRIDGE} up
    """
    run(["ip", "-netns", NAMESPACE, "-batch", "-"], stdin=batch)
    run(["ip", "link", "add", HOST_INTERFACE, "type", "veth", "peer", BRIDGE_PORT, "netns", NAMESPACE])
    run(["ip", "-netns", NAMESPACE, "link", "set", BRIDGE_PORT, "master", BRIDGE, "up"])
    # A host that forwards (as one with Docker does) must not do so for the machines.
    Path(f"/proc/sys/net/ipv4/conf/{HOST_INTERFACE}/forwarding").write_text("0")
    Path(f"/proc/sys/net/ipv6/conf/{HOST_INTERFACE}/disable_ipv6").write_text("1")
    run(["ip", "address", "add", f"{HOST_ADDRESS}/{prefix_length}", "dev", HOST_INTERFACE])
    run(["ip", "link", "set", HOST_INTERFACE, "up"])


def down() -> None:
    """Removes cables and namespaces, whatever is left of them, those of a preflight too."""
    _delete(HOST_INTERFACE, NAMESPACE)
    _delete(TRIAL, TRIAL)


def remaining() -> list[str]:
    """Returns what still exists of the lab's network."""
    paths = (_interface(HOST_INTERFACE), _namespace(NAMESPACE), _interface(TRIAL), _namespace(TRIAL))
    return [str(path) for path in paths if path.exists()]


def try_out() -> None:
    """Makes a namespace with a bridge and a cable into it, and removes them; LabError if the kernel refuses."""
    try:
        run(["ip", "netns", "add", TRIAL])
        run(["ip", "-netns", TRIAL, "link", "add", BRIDGE, "type", "bridge"])
        run(["ip", "link", "add", TRIAL, "type", "veth", "peer", BRIDGE_PORT, "netns", TRIAL])
    finally:
        _delete(TRIAL, TRIAL)


def foreign_user_of_subnet(addresses: str, routes: str) -> str | None:
    """Returns the host's interface that already uses the lab's addresses, the lab's own not counted.

    `addresses` and `routes` are the answers of `ip -json address` and `ip -json route`.
    """
    subnet = ipaddress.ip_network(SUBNET)
    used = [
        (interface["ifname"], f"{info['local']}/{info['prefixlen']}")
        for interface in json.loads(addresses)
        for info in interface.get("addr_info", [])
    ]
    used += [(route.get("dev", "?"), route["dst"]) for route in json.loads(routes) if route["dst"] != "default"]
    for interface, text in used:
        network = ipaddress.ip_network(text, strict=False)
        if network.version == subnet.version and interface != HOST_INTERFACE and network.overlaps(subnet):
            return str(interface)
    return None


def _delete(interface: str, namespace: str) -> None:
    # The cable first: the kernel empties a deleted namespace later, and the cable's name is taken until then.
    if _interface(interface).exists():
        run(["ip", "link", "delete", interface])
    if _namespace(namespace).exists():
        run(["ip", "netns", "delete", namespace])


def _interface(name: str) -> Path:
    return Path(f"/sys/class/net/{name}")


def _namespace(name: str) -> Path:
    return Path(f"/run/netns/{name}")


def _inside(*argv: str) -> None:
    run(["nsenter", f"--net=/run/netns/{NAMESPACE}", "--", *argv])
