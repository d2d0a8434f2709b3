-- Tables, strings and closures that come and go, with a live part that stays: what a scripting program asks of an allocator.
local seed = 12345
local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return seed % n + 1
end

local live, checksum = {}, 0
for round = 1, 12 do
  for i = 1, 40000 do
    local name = "key" .. random(20000)
    local node = { name = name, at = i, list = { i, i + 1, i + 2 } }
    local step = round
    node.add = function(x) return x + step + node.at end
    live[random(30000)] = node
    checksum = (checksum + node.add(#name)) % 1000000007
  end
  local parts = {}
  for i = 1, 20000 do parts[i] = string.rep(string.char(97 + i % 26), random(60)) end
  local text = table.concat(parts, ",")
  for word in text:gmatch("[^,]+") do checksum = (checksum * 31 + #word) % 1000000007 end
  local count = {}
  for word in text:sub(1, 200000):gmatch("%a+") do count[word] = (count[word] or 0) + 1 end
  for _, n in pairs(count) do checksum = (checksum + n * n) % 1000000007 end
end
print(checksum)
