"""Objects, dictionaries, strings and JSON, with a live part that stays. Run with PYTHONMALLOC=malloc, so that each object is a call."""
import hashlib
import json

seed = 12345


def random(n):
    global seed
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed % n


class Node:
    def __init__(self, key, parts):
        self.key = key
        self.parts = parts
        self.next = None


live = {}
check = hashlib.sha256()
for turn in range(6):
    for i in range(25000):
        key = "k%d" % random(15000)
        node = Node(key, [random(100) for _ in range(random(8))])
        node.next = live.get("k%d" % random(15000))
        if node.next:
            node.next.next = None
        live[key] = node
    rows = [{"id": n, "name": "row %d" % random(1000), "tags": [str(random(50)) for _ in range(5)]} for n in range(6000)]
    text = json.dumps(rows)
    back = json.loads(text)
    back.sort(key=lambda row: (row["name"], row["id"]))
    check.update("".join(row["name"] for row in back).encode())
    check.update(str(sum(len(node.parts) for node in live.values())).encode())
print(check.hexdigest())
