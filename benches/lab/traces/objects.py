"""What Python is recorded with: text into objects and back, objects that come and go, a dictionary and a list that grow."""
import json

class Node:
    def __init__(self, key, text):
        self.key, self.text, self.left, self.right = key, text, None, None

def insert(node, key, text):
    if node is None:
        return Node(key, text)
    if key < node.key:
        node.left = insert(node.left, key, text)
    elif key > node.key:
        node.right = insert(node.right, key, text)
    else:
        node.text = text
    return node

root, number = None, 12345
for step in range(6000):
    number = (number * 1103515245 + 12345) % 2**31
    root = insert(root, number % 3000, "note %d " % step * (number % 9))

rows = [{"id": step, "name": "row %d" % step, "half": step / 2, "tags": ["t%d" % (step % t) for t in range(1, 6)]} for step in range(1300)]
for turn in range(4):
    rows = json.loads(json.dumps(rows, indent=turn or None))
    rows = [row for row in rows if row["id"] % (turn + 5)] + [{"id": turn, "name": "new", "half": 0.5, "tags": []}]

words, text = {}, []
for step in range(20000):
    number = (number * 1103515245 + 12345) % 2**31
    word = "w%d" % (number % 4000)
    words[word] = words.get(word, 0) + 1
    if step % 3 == 0:
        text.append(word * (number % 5))
print(len(rows), len(words), len(",".join(text)), sum(words.values()))
