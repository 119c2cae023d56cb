"""The same promises on the hooks of older kernels: clsact instead of tcx, and no socket hooks at all."""
import harness

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-client, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.97.0.1, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


class Attach(harness.TestCase):
    def check(self, node):
        node.run("web", *harness.serve("web", tcp=[8080]), labels={"app": "web"})
        node.run("client", "sleep", "600", labels={"app": "client"})
        node.run("other", "sleep", "600", labels={"app": "other"})
        node.apply(POLICY)
        for family in (4, 6):
            answer = node.tcp("client", node.address("web", family), 8080)
            self.assertTrue(answer["ok"], answer)
            answer = node.tcp("other", node.address("web", family), 8080, timeout=300)
            self.assertEqual(answer["error"], "TIMEOUT", answer)
        answer = node.tcp("client", "10.97.0.1", 80)
        self.assertTrue(answer["ok"], answer)
        node.wait_flow(lambda flow: flow["kind"] == "dropped", pod="default/other")

    def test_clsact(self):
        with harness.Node(config={"datapath": {"attach": "clsact"}}) as node:
            self.check(node)
            # A newer run that finds tcx takes over without a gap or a double.
            node.stop_agent()
            node.start_agent()
            answer = node.tcp("client", node.address("web"), 8080)
            self.assertTrue(answer["ok"], answer)

    def test_without_socket_hooks(self):
        with harness.Node(config={"services": {"socketHooks": False}}) as node:
            self.check(node)
            flow = node.wait_flow(lambda flow: flow.get("service", {}).get("name") == "default/web")
            self.assertNotIn("process", flow["source"])


if __name__ == "__main__":
    harness.main()
