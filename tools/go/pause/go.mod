module model-server/tools/pause

go 1.26.0
