"""The restricted profile of Kubernetes' Pod Security Standards, as far as a pod of Linux containers goes.

After the page "Pod Security Standards" of the Kubernetes documentation, version 1.37: the baseline profile and
what restricted adds to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
_PROFILES = {"RuntimeDefault", "Localhost"}
_HANDLERS = ("livenessProbe", "readinessProbe", "startupProbe")

Spec = dict[str, Any]


def breaches(pod: Spec) -> list[str]:
    """What a pod's spec does that the restricted profile forbids; nothing for a pod that may run."""
    found = list(_of_pod(pod))
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(group, []):
            found += [f"{container['name']}: {breach}" for breach in _of_container(container, pod)]
    return found


def _of_pod(pod: Spec) -> Iterator[str]:
    context = pod.get("securityContext", {})
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(flag):
            yield flag
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds or kinds - _VOLUMES:
            yield f"volume {volume['name']}: {', '.join(sorted(kinds)) or 'of no kind'}"
    for sysctl in context.get("sysctls", []):
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _of_identity(context)


def _of_container(container: Spec, pod: Spec) -> Iterator[str]:
    context, around = container.get("securityContext", {}), pod.get("securityContext", {})
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("runAsNonRoot", around.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if context.get("seccompProfile", around.get("seccompProfile", {})).get("type") not in _PROFILES:
        yield "no seccompProfile"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities are not all dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if context.get("procMount", "Default") != "Default":
        yield "procMount"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
    if any(_names_a_host(container.get(handler, {})) for handler in _HANDLERS):
        yield "a probe of another host"
    yield from _of_identity(context)


def _of_identity(context: Spec) -> Iterator[str]:
    if context.get("runAsUser") == 0:
        yield "runAsUser 0"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in _PROFILES:
        yield "appArmorProfile"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"
    labels = context.get("seLinuxOptions", {})
    if labels.get("type", "") not in _SELINUX_TYPES or labels.get("user") or labels.get("role"):
        yield "seLinuxOptions"


def _names_a_host(probe: Spec) -> bool:
    return any("host" in probe.get(kind, {}) for kind in ("httpGet", "tcpSocket"))
