-- Arguments: the size of a range and of the blob, in bytes. Asks for one aligned range after the other, at random.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)")
dofile(folder .. "report.lua")

local size, count

function init(args)
  size = tonumber(args[1])
  count = math.floor(tonumber(args[2]) / size)
  math.randomseed(os.time())
end

function request()
  local start = math.random(0, count - 1) * size
  wrk.headers["Range"] = string.format("bytes=%d-%d", start, start + size - 1)
  return wrk.format()
end
