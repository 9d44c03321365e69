module kaos.tools/workload

go 1.19
