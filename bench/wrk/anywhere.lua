-- Arguments: a path with one %d, and how many numbers it takes. Asks for one of them at random.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)")
dofile(folder .. "report.lua")

local pattern, count

function init(args)
  pattern, count = args[1], tonumber(args[2])
  math.randomseed(os.time())
end

function request()
  return wrk.format(nil, string.format(pattern, math.random(0, count - 1)))
end
