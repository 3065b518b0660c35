# Ingest and the protocol below are played by the test.
foreach(name api_worker_live ingest_submit ingest_cancel task_fill_ingest grpc_state grpc_set_state grpc_worker grpc_loop grpc_arena grpc_hold grpc_next
    grpc_room grpc_send_bytes grpc_finish grpc_finish_problem grpc_set_retry_after)
  target_link_options(${target} PRIVATE -Wl,--wrap=${name})
endforeach()
